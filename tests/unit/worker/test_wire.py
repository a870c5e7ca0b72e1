"""Reading task messages, and deciding whether to claim."""

from typing import Any
from uuid import UUID

import orjson
import pytest

from daybook.worker import wire
from shared.broker.messages import Message
from shared.broker.subjects import commit_subject, id_token
from shared.telemetry.ids import span_id

JOB = UUID("019a3b5c-0000-7000-8000-000000000001")
NOW = 1_763_697_600_000_000
FRESH = 250_000
RELEASED: dict[str, Any] = {"task": 4, "skill": "resize", "input": {"n": 1}, "node": "a", "workflow": "w"}


def message(*events: list[Any], stored: int = NOW, delivered: int = 1) -> Message:
    body = orjson.dumps({"id": str(JOB), "kind": "job", "n": 1, "at": NOW, "by": "x", "events": events})
    reply = f"$JS.ACK.JOURNAL.skill_resize.{delivered}.7.3.{stored * 1000}.0"
    return Message(commit_subject("job", JOB, 1, "resize"), reply, body)


def task(stored: int = NOW, delivered: int = 1, **fields: Any) -> wire.Task:
    found = message(
        ["JobAccepted", {}], ["TaskReleased", RELEASED | fields], stored=stored, delivered=delivered
    )
    return wire.Task(found, found.delivery)


def test_a_task_is_the_last_event_of_its_commit() -> None:
    found = task(attempt=2, run_timeout=3)
    assert found.key == (str(JOB), 4, 2)
    assert found.job_token == id_token(JOB)
    assert (found.skill, found.input, found.run_timeout) == ("resize", {"n": 1}, 3)
    assert found.release == {"node": "a", "workflow": "w", "run_timeout": 3}
    assert found.metadata == {}


def test_the_metadata_of_the_job_stand_apart() -> None:
    found = task(metadata={"order": 7})
    assert found.metadata == {"order": 7}
    assert found.release == {"node": "a", "workflow": "w"}


def test_what_a_release_leaves_out_has_its_default() -> None:
    found = task()
    assert (found.attempt, found.claim, found.run_timeout) == (1, False, None)


def test_the_trace_of_a_task_names_the_span_of_its_release() -> None:
    client = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert task(trace=client).trace == f"00-0af7651916cd43dd8448eb211c80319c-{span_id(JOB, 2)}-01"
    assert task().trace == f"00-{JOB.hex}-{span_id(JOB, 2)}-01"


def test_an_event_of_a_later_class_version_is_read_too() -> None:
    found = message(["TaskReleased", RELEASED, 2])
    assert wire.Task(found, found.delivery).number == 4


@pytest.mark.parametrize(
    "events", [[], [["TaskSucceeded", {}]], [["TaskReleased", {"task": 1}]], [["TaskReleased", "opaque"]]]
)
def test_a_message_without_a_release_is_malformed(events: list[list[Any]]) -> None:
    found = message(*events)
    with pytest.raises(wire.MalformedTask, match=r"journal\.job"):
        wire.Task(found, found.delivery)


def test_a_message_that_is_not_json_is_malformed() -> None:
    found = message()._replace(data=b"\x00")
    with pytest.raises(wire.MalformedTask):
        wire.Task(found, found.delivery)


@pytest.mark.parametrize(
    ("age_us", "delivered", "fields", "claims"),
    [
        (0, 1, {}, False),
        (FRESH, 1, {}, False),
        (FRESH + 1, 1, {}, True),
        (-FRESH - 1, 1, {}, True),
        (0, 2, {}, True),
        (0, 1, {"claim": True}, True),
    ],
)
def test_only_a_fresh_first_delivery_runs_without_a_claim(
    age_us: int, delivered: int, fields: dict[str, Any], claims: bool
) -> None:
    assert task(NOW - age_us, delivered, **fields).must_claim(NOW, FRESH) is claims


def test_reports_are_the_words_of_the_wire() -> None:
    found = task(attempt=3)
    who = {"task": 4, "attempt": 3, "worker": "w1"}
    assert orjson.loads(wire.claim(found, "w1")) == {"kind": "claim", **who}
    assert orjson.loads(wire.renew(found, "w1")) == {"kind": "renew", **who}
    assert orjson.loads(wire.progress(found, "w1", 0.5, "half")) == {
        "kind": "progress",
        **who,
        "progress": 0.5,
        "message": "half",
    }
    done = {"kind": "result", **who, "started_at": 9}
    assert orjson.loads(wire.succeeded(found, "w1", [1], "success", 9)) == {
        **done,
        "outcome": "succeeded",
        "output": [1],
    }
    assert orjson.loads(wire.succeeded(found, "w1", None, "odd", 9))["port"] == "odd"
    assert orjson.loads(wire.failed(found, "w1", {"kind": "permanent", "message": "no"}, 9)) == {
        **done,
        "outcome": "failed",
        "error": {"kind": "permanent", "message": "no"},
    }


def test_a_delay_is_told_to_the_broker_in_nanoseconds() -> None:
    assert wire.nak() == b"-NAK"
    assert wire.nak(1.5) == b'-NAK {"delay": 1500000000}'
