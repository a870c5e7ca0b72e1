"""A job of one task: given events, when a command, then events."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from shared.domain.errors import IllegalTransition
from shared.domain.graph import Graph
from shared.domain.job.effects import HeldTask, StartTimer
from shared.domain.job.events import TaskReleased
from shared.domain.job.job import Job
from shared.domain.job.spec import Facts, JobSpec
from shared.domain.values import Json, Status, TaskError, Verdict, to_us
from tests.unit.domain.given import facts, names

ID = UUID(int=1)
NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
RESIZE = Graph.of_skill("resize")
SPEC = JobSpec(skill="resize", input={"url": "u"}, tenant="acme")
LEASE = timedelta(seconds=60)


def at(seconds: float = 0, graph: Graph = RESIZE, room: bool = True) -> Facts:
    return facts(NOON + timedelta(seconds=seconds), graph, room=room)


def accepted(spec: JobSpec = SPEC, room: bool = True) -> Job:
    job = Job.accept(ID, spec, at(room=room))
    job.collect_events()
    return job


def test_an_accepted_job_releases_its_task_in_the_same_decision() -> None:
    job = Job.accept(ID, SPEC, at())
    assert names(job) == ["JobAccepted", "TaskReleased"]
    assert job.status is Status.QUEUED
    assert job.spec.definition == RESIZE.hash
    assert job.tasks[1].input == {"url": "u"}


def test_a_one_step_job_is_four_events() -> None:
    job = accepted()
    assert job.succeed(1, 1, "w1", {"ok": True}, at(1)) == Verdict(True)
    assert names(job) == ["TaskSucceeded", "JobSucceeded"]
    assert (job.status, job.output, job.is_ended) == (Status.SUCCEEDED, {"ok": True}, True)


def test_each_attempt_tells_its_worker_the_job_s_deadline_and_what_the_client_said() -> None:
    said: dict[str, Json] = {"m": 1, "daybook.security": {"s": 2}}
    retry: dict[str, Json] = {"max_attempts": 2, "base_seconds": 0}
    until = to_us(NOON) + 9_000_000
    spec = replace(SPEC, metadata={**said, "daybook.client": {"plan": "gold"}}, deadline=until, retry=retry)
    job = Job.accept(ID, spec, at())
    job.fail(1, 1, "w1", TaskError("transient", "later"), at(1))
    released = [event for event in job.collect_events() if isinstance(event, TaskReleased)]
    assert [(event.attempt, event.metadata, event.deadline) for event in released] == [
        (1, said, until),
        (2, said, until),
    ]


@pytest.mark.parametrize("metadata", [None, {}, {"daybook.client": {"plan": "gold"}}])
def test_a_task_of_which_nothing_is_said_is_told_nothing(metadata: dict[str, Json] | None) -> None:
    job = Job.accept(ID, replace(SPEC, metadata=metadata), at())
    assert [event.metadata for event in job.collect_events() if isinstance(event, TaskReleased)] == [None]


def test_a_repeated_result_is_accepted_without_events() -> None:
    job = accepted()
    job.succeed(1, 1, "w1", 7, at(1))
    job.collect_events()
    assert job.succeed(1, 1, "w1", 7, at(2)) == Verdict(True)
    assert names(job) == []


def test_a_result_of_another_worker_after_the_end_is_ignored_and_recorded_once() -> None:
    job = accepted()
    job.succeed(1, 1, "w1", 7, at(1))
    job.collect_events()
    assert job.succeed(1, 1, "w2", 7, at(2)) == Verdict(False, "finished")
    assert names(job) == ["ReportIgnored"]
    assert job.succeed(1, 1, "w2", 7, at(3)) == Verdict(False, "finished")
    assert names(job) == []


def test_a_cancel_beats_a_later_success() -> None:
    job = accepted()
    job.cancel(at(1), "no need", "client:a")
    assert names(job) == ["TaskCancelled", "JobCancelled"]
    assert job.succeed(1, 1, "w1", 7, at(2)) == Verdict(False, "cancelled")
    assert job.status is Status.CANCELLED
    job.collect_events()
    job.cancel(at(3), "again", "client:a")
    assert names(job) == []


def test_a_job_that_succeeded_cannot_be_cancelled() -> None:
    job = accepted()
    job.succeed(1, 1, "w1", 7, at(1))
    with pytest.raises(IllegalTransition):
        job.cancel(at(2))


def test_without_room_the_task_is_held_until_it_is_released() -> None:
    job = Job.accept(ID, SPEC, at(room=False))
    assert names(job) == ["JobAccepted", "TaskQueued"]
    assert job.outstanding() == [HeldTask(1, "resize", 500, ())]
    job.release(1, at(1))
    job.release(1, at(2))
    assert names(job) == ["TaskReleased"]
    assert job.outstanding() == []


def test_a_claim_is_a_lease_that_only_its_holder_may_use() -> None:
    job = accepted()
    assert job.claim(1, 1, "w1", LEASE, at(1)) == Verdict(True)
    assert job.status is Status.ASSIGNED
    assert job.claim(1, 1, "w2", LEASE, at(2)) == Verdict(False, "foreign")
    assert job.succeed(1, 1, "w2", 7, at(2)) == Verdict(False, "foreign")
    assert job.claim(1, 1, "w1", LEASE, at(1)) == Verdict(True)
    assert names(job) == ["TaskClaimed", "ReportIgnored", "ReportIgnored"]


def test_a_lost_lease_is_retried_and_fences_the_old_worker_off() -> None:
    job = accepted()
    job.claim(1, 1, "w1", LEASE, at(0))
    job.collect_events()
    job.expire(at(59))
    assert names(job) == []
    job.expire(at(61))
    assert names(job) == ["TaskTimedOut", "TaskRetryScheduled"]
    assert job.status is Status.RETRY_SCHEDULED
    assert job.outstanding() == [StartTimer("retry-1-2", to_us(NOON + timedelta(seconds=61.75)))]
    assert job.succeed(1, 1, "w1", 7, at(62)) == Verdict(False, "late")
    job.wake("retry-1-2", at(62))
    job.wake("retry-1-2", at(62))
    assert names(job) == ["ReportIgnored", "TaskReleased"]
    assert job.tasks[1].attempt == 2
    assert job.succeed(1, 2, "w2", 7, at(63)) == Verdict(True)


def test_a_transient_failure_is_retried_until_the_attempts_are_used_up() -> None:
    job = accepted(JobSpec(skill="resize", retry={"max_attempts": 2, "base": 0}))
    error = TaskError("transient", "no route")
    assert job.fail(1, 1, "w1", error, at(1)) == Verdict(True)
    assert names(job) == ["TaskFailed", "TaskReleased"]
    assert job.fail(1, 1, "w1", error, at(1)) == Verdict(True)
    assert names(job) == []
    assert job.fail(1, 1, "w3", error, at(1)) == Verdict(False, "stale")
    assert job.fail(1, 2, "w1", error, at(2)) == Verdict(True)
    assert names(job) == ["ReportIgnored", "TaskFailed", "JobFailed"]
    assert job.error == {"kind": "transient", "message": "no route"}


def test_a_permanent_failure_ends_the_job_at_once() -> None:
    job = accepted()
    job.fail(1, 1, "w1", TaskError("permanent", "broken", code="E1"), at(1))
    assert names(job) == ["TaskFailed", "JobFailed"]
    assert job.error == {"kind": "permanent", "message": "broken", "code": "E1"}


def test_a_task_that_nobody_takes_in_time_times_the_job_out() -> None:
    job = accepted(JobSpec(skill="resize", dispatch_timeout=10))
    assert job.next_due == to_us(NOON + timedelta(seconds=10))
    job.expire(at(10))
    assert names(job) == ["TaskTimedOut", "JobTimedOut"]
    assert job.succeed(1, 1, "w1", 7, at(11)) == Verdict(False, "late")


def test_the_deadline_ends_the_job_whatever_runs() -> None:
    job = accepted(JobSpec(skill="resize", deadline=to_us(NOON) + 5_000_000))
    job.claim(1, 1, "w1", LEASE, at(1))
    job.expire(at(6))
    assert names(job) == ["TaskClaimed", "TaskCancelled", "JobTimedOut"]
    assert job.status is Status.TIMED_OUT
    assert job.succeed(1, 1, "w1", 7, at(7)) == Verdict(False, "late")


def test_a_chain_hands_the_output_of_one_task_to_the_next() -> None:
    graph = Graph.parse(
        {
            "nodes": {"a": {"kind": "task", "skill": "x"}, "b": {"kind": "task", "skill": "y"}},
            "edges": [{"from": "a", "port": "success", "to": "b"}],
        }
    )
    job = Job.accept(ID, JobSpec(workflow="w", input=1), at(graph=graph))
    job.succeed(1, 1, "w1", 2, at(1, graph))
    assert job.tasks[2].input == 2
    job.succeed(2, 1, "w1", 3, at(2, graph))
    assert names(job) == [
        "JobAccepted",
        "TaskReleased",
        "TaskSucceeded",
        "TaskReleased",
        "TaskSucceeded",
        "JobSucceeded",
    ]
    assert job.output == 3
