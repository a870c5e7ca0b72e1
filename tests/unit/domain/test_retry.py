"""Retry policies."""

from datetime import timedelta

import pytest

from shared.domain.errors import InvalidValue
from shared.domain.retry import DEFAULT, RetryPolicy
from shared.domain.values import Json


def test_the_default_policy_tries_four_times() -> None:
    assert RetryPolicy.of(None, {}) is DEFAULT
    assert [DEFAULT.retries("transient", attempt) for attempt in (1, 2, 3, 4)] == [True, True, True, False]


def test_waits_grow_by_the_factor_up_to_the_cap() -> None:
    policy = RetryPolicy(base_seconds=1, factor=2.0, cap_seconds=5, jitter=0)
    waits = [policy.wait_before(attempt, 0.9).total_seconds() for attempt in (2, 3, 4, 5, 5000)]
    assert waits == [1, 2, 4, 5, 5]


@pytest.mark.parametrize(
    ("jitter", "chance", "seconds"), [(1, 0, 0), (1, 1, 8), (0.5, 0, 4), (0.5, 0.5, 6), (0, 0, 8)]
)
def test_jitter_leaves_a_part_of_the_wait_to_chance(jitter: float, chance: float, seconds: float) -> None:
    assert RetryPolicy(base_seconds=8, jitter=jitter).wait_before(2, chance) == timedelta(seconds=seconds)


def test_older_names_of_fields_mean_the_same() -> None:
    assert RetryPolicy.of({"base": 3, "cap": 9}) == RetryPolicy.of({"base_seconds": 3, "cap_seconds": 9})


@pytest.mark.parametrize("kind", ["permanent", "invalid_input", "contract_violation", "cancelled"])
def test_only_what_may_pass_is_retried(kind: str) -> None:
    assert not DEFAULT.retries(kind, 1)
    assert not DEFAULT.quarantines(kind)


def test_later_layers_win_field_by_field() -> None:
    policy = RetryPolicy.of(
        {"max_attempts": 2, "base": 3}, None, {"base_seconds": 4, "quarantine": ["timeout"]}
    )
    assert policy == RetryPolicy(max_attempts=2, base_seconds=4, quarantine=("timeout",))
    assert not policy.retries("timeout", 1)
    assert policy.quarantines("timeout")


@pytest.mark.parametrize(
    "fields",
    [
        {"max_attempts": 0},
        {"max_attempts": "3"},
        {"max_attempts": False},
        {"base_seconds": -1},
        {"base": "1"},
        {"factor": float("nan")},
        {"cap_seconds": True},
        {"jitter": 1.5},
        {"when_exhausted": "shrug"},
        {"quarantine": "permanent"},
        {"quarantine": ["odd"]},
        {"quarantine": [[]]},
        {"unknown": 1},
        {"cap": 1e300},
        {"base": []},
        {"base": 1, "base_seconds": 1},
    ],
)
def test_a_policy_that_means_nothing_is_refused(fields: dict[str, Json]) -> None:
    with pytest.raises(InvalidValue):
        RetryPolicy.of(fields)
