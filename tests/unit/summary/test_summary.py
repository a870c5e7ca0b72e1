"""What a summary shows."""

import msgspec
import pytest

from shared.application.summary import JobSummary, UnknownEvent, WorkerSummary, WorkflowSummary, iso

AT = 1_763_697_600_123_456


def test_a_job_is_shown_with_iso_times_and_its_open_nodes() -> None:
    job = JobSummary("id")
    job.apply("JobAccepted", {"workflow": "w", "version": 2, "tags": {"a": "b"}, "input": 1}, AT, 5)
    job.apply("TaskReleased", {"task": 1, "skill": "s", "node": "first"}, AT, 5)
    job.apply("TaskClaimed", {"task": 1, "attempt": 1, "worker": "w1", "until": AT}, AT + 1, 6)
    shown = job.to_public()
    assert shown["created_at"] == shown["queued_at"] == "2025-11-21T04:00:00.123456Z"
    assert shown["started_at"] == "2025-11-21T04:00:00.123457Z"
    assert shown["ended_at"] is None
    assert (shown["status"], shown["nodes"], shown["worker"]) == ("assigned", ["first"], "w1")
    assert (shown["attempts"], shown["retries"], shown["sequence"]) == (1, 0, 6)
    msgspec.json.encode(shown)


def test_a_whole_second_keeps_its_six_digits() -> None:
    assert iso(1_763_697_600_000_000) == "2025-11-21T04:00:00.000000Z"
    assert iso(None) is None


def test_a_fresh_task_started_when_its_result_says() -> None:
    job = JobSummary("id")
    job.apply("JobAccepted", {"skill": "s"}, AT, 1)
    job.apply("TaskReleased", {"task": 1, "skill": "s"}, AT, 1)
    job.apply("TaskSucceeded", {"task": 1, "attempt": 1, "worker": "w", "started_at": AT + 3}, AT + 9, 2)
    job.apply("JobSucceeded", {"output": {"a": 1}}, AT + 9, 2)
    assert (job.started_at, job.ended_at, job.progress) == (AT + 3, AT + 9, 1.0)
    assert (job.output, job.dues, job.due_at) == ({"a": 1}, {}, None)


def test_a_failure_is_shown_while_its_retry_waits_and_forgotten_when_it_works() -> None:
    job = JobSummary("id")
    job.apply("JobAccepted", {"skill": "s"}, AT, 1)
    job.apply("TaskReleased", {"task": 1, "skill": "s", "node": "n"}, AT, 1)
    job.apply("TaskFailed", {"task": 1, "attempt": 1, "worker": "w", "error": {"kind": "transient"}}, AT, 2)
    job.apply("TaskRetryScheduled", {"task": 1, "attempt": 2, "not_before": AT + 10}, AT, 2)
    assert (job.status, job.error, job.nodes) == ("retry_scheduled", {"kind": "transient"}, ["n"])
    assert job.due_at == AT + 10 + 5_000_000
    job.apply("TaskReleased", {"task": 1, "skill": "s", "attempt": 2}, AT, 3)
    assert (job.attempts, job.retries) == (2, 1)
    assert job.dues == {}
    job.apply("TaskSucceeded", {"task": 1, "attempt": 2, "worker": "w"}, AT, 4)
    assert job.error is None


def test_who_cancelled_a_job_is_shown() -> None:
    job = JobSummary("id")
    job.apply("JobAccepted", {"skill": "s"}, AT, 1)
    job.apply("JobCancelled", {"reason": "not needed", "by": "client:x"}, AT, 2)
    assert job.error == {"kind": "cancelled", "message": "not needed", "by": "client:x"}


@pytest.mark.parametrize("summary", [JobSummary("a"), WorkerSummary("b"), WorkflowSummary("c")])
def test_an_event_that_nobody_knows_is_refused(
    summary: JobSummary | WorkerSummary | WorkflowSummary,
) -> None:
    with pytest.raises(UnknownEvent):
        summary.apply("Enchanted", {}, AT, 1)
    assert summary.sequence == 0


def test_a_workflow_and_a_worker_are_shown() -> None:
    workflow = WorkflowSummary("id")
    published = {"name": "convert", "tenant": "t", "version": 1, "definition": "hash"}
    workflow.apply("WorkflowPublished", published, AT, 3)
    assert workflow.to_public()["version"] == workflow.newest == 1
    assert WorkflowSummary("id").to_public()["definition"] is None
    worker = WorkerSummary("id")
    worker.apply("WorkerRegistered", {"name": "w1", "skills": ["s"]}, AT, 4)
    assert worker.to_public()["registered_at"] == "2025-11-21T04:00:00.123456Z"


def test_what_is_given_back_waits_again_and_is_nobodys() -> None:
    job = JobSummary("id")
    job.apply("JobAccepted", {"skill": "resize"}, AT, 5)
    job.apply(
        "TaskReleased", {"task": 1, "skill": "resize", "run_timeout": 5.0, "dispatch_by": AT + 9}, AT, 5
    )
    job.apply("TaskClaimed", {"task": 1, "attempt": 1, "worker": "w1", "until": AT + 8}, AT + 1, 6)
    job.apply("TaskReturned", {"task": 1, "attempt": 1, "worker": "w1", "dispatch_by": AT + 9}, AT + 2, 7)
    assert (job.status, job.worker, job.dues) == ("queued", None, {"waiting-1": AT + 9})
    job.apply("TaskClaimed", {"task": 1, "attempt": 1, "worker": "w2", "until": AT + 8}, AT + 1, 8)
    job.apply("TaskReturned", {"task": 1, "attempt": 1, "worker": "w2"}, AT + 2, 9)
    assert job.dues == {}
