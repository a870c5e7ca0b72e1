"""The versions and signatures of the workers' protocol."""

import logging

import pytest

from services.api.dialects.avtomatika import protocol
from services.api.dialects.avtomatika.worker_translation import signed


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ([(b"x-rxon-version", b"1.0b15")], b"1.0b15"),
        ([(b"host", b"h"), (b"x-rxon-version", b"1.0b17")], b"1.0b17"),
        ([(b"x-rxon-version", b"9\r\nx: y")], b"1.0b15"),
        ([(b"host", b"h")], b"1.0b15"),
    ],
)
def test_an_answer_is_in_the_version_of_who_asks(headers: list[tuple[bytes, bytes]], version: bytes) -> None:
    assert protocol.answered(headers) == version


def test_a_signature_is_the_one_that_the_documents_of_the_protocol_make() -> None:
    """The digest was made by the SDK's own library, of this task."""
    task = {
        "job_id": "j",
        "task_id": "task-j-1-1",
        "type": "echo",
        "params": {"whole": 2.0, "part": 0.1, "nothing": None},
        "priority": 0,
        "step": 0,
        "timestamp": 1795282141,
        "tracing_context": {},
        "security": {"signer_id": "s"},
    }
    assert signed(task, "key")["sig"] == "57c85e4c315c79524bbc80e58555b0b700e0723b3799a5d6e2a5c95e8a356086"


def test_a_task_that_cannot_be_signed_is_handed_out_as_it_is_and_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    task = {"task_id": "t", "params": {"huge": 1e300}}
    with caplog.at_level(logging.WARNING):
        assert signed(task, "key") == task
    assert "task t is handed out unsigned" in caplog.text
