"""Whose the keys of a job's metadata are."""

import pytest

from shared.domain.metadata import of_client, reserved_in
from shared.domain.values import Json


def test_the_server_s_own_keys_are_none_of_the_client_s() -> None:
    said: dict[str, Json] = {"daybook.client": {"plan": "gold"}, "daybook": 1, "mine": 2}
    assert of_client(said) == {"daybook": 1, "mine": 2}
    assert of_client(None) == {}


@pytest.mark.parametrize(
    ("metadata", "is_reserved"), [(None, False), ({}, False), ({"a": 1}, False), ({"daybook.x": 1}, True)]
)
def test_a_key_that_begins_like_the_server_s_is_seen(metadata: dict[str, Json], is_reserved: bool) -> None:
    assert reserved_in(metadata) is is_reserved
