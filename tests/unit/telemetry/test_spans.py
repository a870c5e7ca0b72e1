"""The trace is the history."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from shared.application.ports import StoredCommit
from shared.telemetry.ids import span_id, trace_id, traceparent_of
from shared.telemetry.spans import Span, Spans

JOB = UUID("01a1fc74-6306-7a89-8eca-867fa06a76de")
CLIENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
DONE = [("TaskSucceeded", {"task": 1, "attempt": 1, "worker": "w", "started_at": 250}), ("JobSucceeded", {})]


def commit(n: int, at: int, *events: tuple[str, Mapping[str, Any]], kind: str = "job") -> StoredCommit:
    return StoredCommit(n, kind, JOB, n, at, "client:c", events, b"")


def accepted(**fields: Any) -> StoredCommit:
    released = ("TaskReleased", {"task": 1, "skill": "resize"})
    return commit(1, 100, ("JobAccepted", {"skill": "resize", "input": {"secret": 1}, **fields}), released)


def spans_of(*commits: StoredCommit) -> list[Span]:
    spans = Spans()
    return [span for one in commits for span in spans.of(one)]


def test_there_is_one_span_for_each_event_with_an_id_that_follows_from_it() -> None:
    spans = spans_of(accepted(), commit(3, 300, *DONE))
    assert [span.name for span in spans] == ["JobAccepted", "TaskReleased", "TaskSucceeded", "JobSucceeded"]
    assert [span.span_id for span in spans] == [span_id(JOB, version) for version in (1, 2, 3, 4)]


def test_a_job_of_a_schedule_begins_with_the_span_that_operators_look_for() -> None:
    first, second = spans_of(accepted(skill=None, workflow="backup", trigger="schedule"))
    assert (first.name, second.name) == ("Scheduler:Trigger:backup", "TaskReleased")
    assert spans_of(accepted(trigger="parent"))[0].name == "JobAccepted"


def test_without_a_client_s_trace_the_job_s_id_is_the_trace() -> None:
    assert {span.trace_id for span in spans_of(accepted(), commit(3, 300, *DONE))} == {JOB.hex}


def test_a_client_s_trace_is_kept_and_its_span_is_the_parent() -> None:
    first, *others = spans_of(accepted(trace=CLIENT), commit(3, 300, *DONE))
    assert (first.trace_id, first.parent_id) == (CLIENT.split("-")[1], CLIENT.split("-")[2])
    assert {span.trace_id for span in others} == {first.trace_id}


def test_a_task_lasts_from_its_start_and_hangs_below_its_release() -> None:
    spans = spans_of(accepted(), commit(3, 300, *DONE))
    assert (spans[2].start, spans[2].end, spans[2].parent_id) == (250, 300, spans[1].span_id)


def test_the_last_event_of_a_job_lasts_as_long_as_the_job() -> None:
    spans = spans_of(accepted(), commit(3, 300, *DONE))
    assert (spans[3].start, spans[3].end, spans[3].parent_id) == (100, 300, spans[0].span_id)


def test_failures_are_marked() -> None:
    failed = ("TaskFailed", {"task": 1, "attempt": 1, "worker": "w", "error": {"message": "secret"}})
    span = spans_of(accepted(), commit(3, 300, failed))[2]
    assert span.failed
    assert "secret" not in str(span.attributes)


def test_the_same_history_gives_the_same_spans_again() -> None:
    history = (accepted(trace=CLIENT), commit(3, 300, *DONE))
    assert spans_of(*history) == spans_of(*history)


def test_what_is_not_a_job_has_no_spans() -> None:
    assert spans_of(commit(1, 1, ("WorkerRegistered", {"name": "w"}), kind="worker")) == []


def test_what_goes_along_with_work_names_the_trace_and_the_event() -> None:
    assert traceparent_of(JOB, None, 2) == f"00-{JOB.hex}-{span_id(JOB, 2)}-01"
    assert trace_id(JOB, CLIENT) == CLIENT.split("-")[1]
