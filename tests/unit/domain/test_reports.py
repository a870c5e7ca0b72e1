"""Fencing: which reports count, which are ignored, why, and how much of that is kept."""

import pytest

from shared.domain.job.reports import MOST_IGNORED_RECORDED
from shared.domain.values import Json, Status, TaskError, Verdict, to_us
from tests.unit.domain.given import BROKEN, FLAKY, LEASE, NOON, Story, edge, graph, task

ONE = graph({"a": task()})


def ignored(reason: str) -> Verdict:
    return Verdict(accepted=False, reason=reason)


def test_a_report_about_a_task_that_never_was_is_stale() -> None:
    story = Story(ONE)
    assert story.job.succeed(9, 1, "w", 1, story.facts) == ignored("stale")


@pytest.mark.parametrize("attempt", [0, 2])
def test_a_report_of_another_attempt_is_stale(attempt: int) -> None:
    story = Story(ONE)
    story.events()
    assert story.job.succeed(1, attempt, "w", 1, story.facts) == ignored("stale")
    assert story.job.claim(1, attempt, "w", LEASE, story.facts) == ignored("stale")
    assert story.job.renew(1, attempt, "w", LEASE, story.facts) == ignored("stale")
    assert story.job.progress(1, attempt, "w", 0.5, None, story.facts) == ignored("stale")
    assert story.job.fail(1, attempt, "w", BROKEN, story.facts) == ignored("stale")
    assert story.events() == ["ReportIgnored"] * 4  # the two results are one report to the record
    assert story.job.status is Status.QUEUED


def test_a_held_task_has_no_reports_that_count() -> None:
    story = Story(ONE, room=False)
    assert story.job.succeed(1, 1, "w", 1, story.facts) == ignored("stale")


def test_a_task_that_waits_for_its_retry_has_none_either() -> None:
    story = Story(ONE, retry={"max_attempts": 2})
    story.fails("a", FLAKY)
    assert story.job.succeed(1, 2, "w", 1, story.facts) == ignored("stale")
    assert story.job.succeed(1, 1, "w1", 1, story.facts) == ignored("stale")


def test_another_result_for_what_ended_is_ignored() -> None:
    story = Story(graph({"a": task(), "b": task()}, edge("a", "b")))
    story.done("a", 1)
    assert story.job.succeed(1, 1, "w1", 2, story.facts) == ignored("finished")
    assert story.job.fail(1, 1, "w1", BROKEN, story.facts) == ignored("finished")
    assert story.job.succeed(1, 1, "w1", 1, story.facts, port="other") == ignored("finished")
    assert story.job.succeed(1, 1, "w1", 1, story.facts) == Verdict(accepted=True)


def test_a_repeated_failure_is_accepted_after_the_end_too() -> None:
    story = Story(ONE)
    story.fails("a")
    assert story.job.fail(1, 1, "w1", BROKEN, story.facts) == Verdict(accepted=True)
    assert story.job.fail(1, 1, "w1", FLAKY, story.facts) == ignored("finished")


def test_what_a_task_was_told_survives_its_next_attempt() -> None:
    story = Story(ONE, retry={"max_attempts": 3, "base": 0})
    story.fails("a", FLAKY)
    assert story.job.fail(1, 1, "w1", FLAKY, story.facts) == Verdict(accepted=True)
    assert story.job.tasks[1].attempt == 2


def test_the_record_of_ignored_reports_is_bounded() -> None:
    story = Story(ONE)
    story.done("a")
    story.events()
    for number in range(MOST_IGNORED_RECORDED + 20):
        assert story.job.succeed(1, 1, f"w{number + 2}", 1, story.facts) == ignored("finished")
    assert story.events() == ["ReportIgnored"] * MOST_IGNORED_RECORDED


def test_a_claim_tells_whether_the_task_runs_already() -> None:
    story = Story(ONE)
    story.job.claim(1, 1, "w1", LEASE, story.facts, started_at=to_us(NOON) - 5)
    assert story.job.status is Status.RUNNING
    assert story.job.tasks[1].started_at == to_us(NOON) - 5


def test_a_claim_again_later_holds_longer() -> None:
    story = Story(ONE)
    story.job.claim(1, 1, "w1", LEASE, story.facts)
    story.seconds = 10
    story.events()
    story.job.claim(1, 1, "w1", LEASE, story.facts)
    assert story.events() == ["LeaseRenewed"]
    assert story.job.tasks[1].until == to_us(NOON) + 70_000_000


def test_a_renewal_moves_the_lease_only_forward() -> None:
    story = Story(ONE)
    story.job.claim(1, 1, "w1", LEASE, story.facts)
    story.events()
    assert story.job.renew(1, 1, "w1", LEASE, story.facts) == Verdict(accepted=True)
    assert story.events() == []
    story.seconds = 5
    story.job.renew(1, 1, "w1", LEASE, story.facts)
    assert story.events() == ["LeaseRenewed"]
    assert story.job.status is Status.RUNNING
    assert story.job.renew(1, 1, "w2", LEASE, story.facts) == ignored("foreign")


def test_a_renewal_without_a_claim_is_a_claim_of_a_running_task() -> None:
    story = Story(ONE)
    story.events()
    assert story.job.renew(1, 1, "w1", LEASE, story.facts) == Verdict(accepted=True)
    assert story.events() == ["TaskClaimed"]
    assert story.job.status is Status.RUNNING


def test_what_its_holder_gives_back_is_for_anybody_in_the_same_attempt() -> None:
    story = Story(ONE)
    story.job.claim(1, 1, "w1", LEASE, story.facts)
    story.job.progress(1, 1, "w1", 0.5, "half", story.facts)
    story.events()
    assert story.job.give_back(1, 1, "w2", story.facts) == ignored("foreign")
    assert story.job.give_back(1, 1, "w1", story.facts) == Verdict(accepted=True)
    assert story.job.give_back(1, 1, "w1", story.facts) == Verdict(accepted=True)
    assert story.events() == ["ReportIgnored", "TaskReturned", "TaskReleased"]
    assert story.job.status is Status.QUEUED
    task = story.job.tasks[1]
    assert (task.worker, task.until, task.started_at, task.progress, task.message) == (
        None,
        None,
        None,
        0,
        None,
    )
    assert story.job.claim(1, 1, "w2", LEASE, story.facts) == Verdict(accepted=True)
    assert story.job.give_back(1, 1, "w1", story.facts) == ignored("foreign")
    assert story.job.succeed(1, 1, "w2", 1, story.facts) == Verdict(accepted=True)
    assert story.job.give_back(1, 1, "w2", story.facts) == ignored("finished")


def test_what_is_given_back_waits_no_longer_than_it_may() -> None:
    story = Story(ONE, dispatch_timeout=5)
    story.job.claim(1, 1, "w1", LEASE, story.facts)
    story.seconds = 4
    story.job.give_back(1, 1, "w1", story.facts)
    assert story.job.next_due == to_us(NOON) + 5_000_000
    story.job.claim(1, 1, "w1", LEASE, story.facts)
    story.seconds = 5
    story.events()
    story.job.give_back(1, 1, "w1", story.facts)
    assert story.events()[:2] == ["TaskReturned", "TaskTimedOut"]
    assert story.job.status is Status.TIMED_OUT


def test_a_held_task_is_taken_past_its_queue() -> None:
    story = Story(ONE, room=False)
    story.events()
    assert story.job.take(1, "w1", LEASE, story.facts, ahead=True) == Verdict(accepted=True)
    assert story.job.take(1, "w1", LEASE, story.facts, ahead=True) == Verdict(accepted=True)
    assert story.job.take(1, "w2", LEASE, story.facts) == Verdict(accepted=False, reason="stale")
    assert story.events() == ["TaskReleased", "TaskClaimed"]
    assert story.job.status is Status.ASSIGNED
    assert story.job.succeed(1, 1, "w1", 1, story.facts) == Verdict(accepted=True)
    assert story.job.take(1, "w1", LEASE, story.facts) == Verdict(accepted=False, reason="stale")
    assert story.job.take(7, "w1", LEASE, story.facts) == Verdict(accepted=False, reason="stale")


def test_a_paused_job_gives_nothing_away() -> None:
    story = Story(ONE, room=False)
    story.job.pause(story.facts)
    assert story.job.take(1, "w1", LEASE, story.facts) == Verdict(accepted=False, reason="stale")


@pytest.mark.parametrize("room", [True, False])
@pytest.mark.parametrize("taken", [True, False])
def test_what_is_given_back_is_offered_anew(room: bool, taken: bool) -> None:
    story = Story(ONE, room=not taken, dispatch_timeout=5)
    if taken:
        story.job.take(1, "w1", LEASE, story.facts)
    else:
        story.job.claim(1, 1, "w1", LEASE, story.facts)
    story.seconds, story.room = 4, room
    story.events()
    assert story.job.give_back(1, 1, "w1", story.facts) == Verdict(accepted=True)
    assert story.job.give_back(1, 1, "w1", story.facts) == Verdict(accepted=True)
    assert story.events() == ["TaskReturned", "TaskReleased" if room else "TaskQueued"]
    assert story.job.next_due == to_us(NOON) + 5_000_000, "it waits no longer than it may"
    assert not story.job.tasks[1].taken
    assert bool(story.job.outstanding()) is not room


def test_what_was_taken_and_given_back_too_late_is_over() -> None:
    story = Story(ONE, room=False, dispatch_timeout=5)
    story.job.take(1, "w1", LEASE, story.facts)
    story.seconds = 5
    story.events()
    story.job.give_back(1, 1, "w1", story.facts)
    assert story.events()[:2] == ["TaskReturned", "TaskTimedOut"]


def test_a_claim_made_ahead_that_ends_unseen_costs_no_attempt_once() -> None:
    story = Story(ONE)
    for again in (True, False):
        story.job.claim(1, 1, "w1", LEASE, story.facts, ahead=True)
        story.seconds += 60
        story.events()
        story.job.expire(story.facts)
        assert story.events()[:2] == (
            ["TaskReturned", "TaskReleased"] if again else ["TaskTimedOut", "JobTimedOut"]
        )
    assert story.job.tasks[1].attempt == 1


def test_a_claim_made_ahead_that_was_shown_to_be_begun_is_like_any_other() -> None:
    for shown in ("renew", "progress"):
        story = Story(ONE)
        story.job.claim(1, 1, "w1", LEASE, story.facts, ahead=True)
        story.seconds = 5
        if shown == "renew":
            story.job.renew(1, 1, "w1", LEASE, story.facts)
        else:
            story.job.progress(1, 1, "w1", 0.5, None, story.facts)
        story.seconds = 65
        story.events()
        story.job.expire(story.facts)
        assert story.events()[0] == "TaskTimedOut"


def test_progress_only_grows_and_is_between_0_and_1() -> None:
    story = Story(ONE)
    story.events()
    for told, reached in ((-1.0, 0.0), (0.5, 0.5), (0.4, 0.5), (7.0, 1.0)):
        assert story.job.progress(1, 1, "w1", told, None, story.facts) == Verdict(accepted=True)
        assert story.job.tasks[1].progress == reached
    assert story.events() == ["TaskProgressed", "TaskProgressed"]


def test_progress_with_a_new_message_is_an_event() -> None:
    story = Story(ONE)
    story.events()
    story.job.progress(1, 1, "w1", 0.0, "warming up", story.facts)
    story.job.progress(1, 1, "w1", 0.0, "warming up", story.facts)
    story.job.progress(1, 1, "w1", 0.5, None, story.facts)
    assert story.events() == ["TaskProgressed", "TaskProgressed"]
    assert story.job.tasks[1].message == "warming up"
    assert story.job.status is Status.RUNNING


def test_progress_is_no_claim_and_a_claim_after_it_is_of_a_running_task() -> None:
    story = Story(ONE)
    story.job.progress(1, 1, "w1", 0.5, None, story.facts)
    assert story.job.next_due is None
    story.job.claim(1, 1, "w2", LEASE, story.facts)
    assert story.job.status is Status.RUNNING
    assert story.job.succeed(1, 1, "w1", 1, story.facts) == ignored("foreign")


def test_a_task_that_ran_too_long_is_tried_again() -> None:
    story = Story(ONE, run_timeout=10, retry={"max_attempts": 2, "base": 0})
    story.job.claim(1, 1, "w1", LEASE, story.facts)
    assert story.job.next_due == to_us(NOON) + 10_000_000
    story.seconds = 10
    story.events()
    story.job.expire(story.facts)
    story.job.expire(story.facts)
    assert story.events() == ["TaskTimedOut", "TaskReleased"]
    assert story.last("TaskTimedOut").what == "executing"
    assert story.job.succeed(1, 1, "w1", 1, story.facts) == ignored("late")
    assert story.job.succeed(1, 2, "w1", 1, story.facts) == Verdict(accepted=True)


def test_a_result_counts_while_the_time_out_was_not_decided() -> None:
    story = Story(ONE, run_timeout=10)
    story.job.claim(1, 1, "w1", LEASE, story.facts)
    story.seconds = 100
    assert story.job.succeed(1, 1, "w1", 1, story.facts) == Verdict(accepted=True)


def test_an_overdue_retry_is_released_by_the_sweep() -> None:
    story = Story(ONE, retry={"max_attempts": 2, "jitter": 0})
    story.fails("a", FLAKY)
    story.seconds = 2
    story.events()
    story.job.expire(story.facts)
    assert story.events() == ["TaskReleased"]


def test_what_one_time_out_ends_does_not_time_out_again() -> None:
    nodes: dict[str, Json] = {"f": {"kind": "fork"}, "a": task(), "b": task(), "j": {"kind": "join"}}
    edges = [edge("f", "a"), edge("f", "b"), edge("a", "j"), edge("b", "j")]
    story = Story(graph(nodes, *edges), dispatch_timeout=5)
    story.events()
    story.seconds = 5
    story.job.expire(story.facts)
    assert story.events() == ["TaskTimedOut", "TaskCancelled", "JobTimedOut"]


def test_a_wait_that_one_time_out_ends_does_not_end_again() -> None:
    nodes: dict[str, Json] = {
        "f": {"kind": "fork"},
        "a": {"kind": "wait", "for": "timer", "seconds": 5},
        "b": {"kind": "wait", "for": "timer", "seconds": 5},
        "j": {"kind": "join", "wait": "any"},
    }
    edges = [edge("f", "a"), edge("f", "b"), edge("a", "j"), edge("b", "j")]
    story = Story(graph(nodes, *edges))
    story.events()
    story.seconds = 5
    story.job.expire(story.facts)
    assert story.events() == ["WaitEnded", "BranchArrived", "NodeCancelled", "JoinPassed", "JobSucceeded"]


def test_a_time_out_can_be_caught_like_a_failure() -> None:
    story = Story(graph({"a": task(), "b": task()}, edge("a", "b", "failure")), dispatch_timeout=5)
    story.seconds = 5
    story.job.expire(story.facts)
    assert list(story.tasks()) == ["b"]
    assert story.job.tasks[2].dispatch_by == to_us(NOON) + 10_000_000


def test_an_error_keeps_only_what_it_says() -> None:
    assert TaskError("transient").to_json() == {"kind": "transient", "message": ""}
    full = TaskError("timeout", "m", "c", {"d": 1}, "p")
    assert full.to_json() == {
        "kind": "timeout",
        "message": "m",
        "code": "c",
        "details": {"d": 1},
        "port": "p",
    }


def test_a_job_that_cannot_go_on_ends_with_the_reason_once() -> None:
    story = Story(ONE)
    story.events()
    for _ in range(2):
        story.job.break_off(TaskError("permanent", "its workflow is gone"), story.facts)
    assert story.events() == ["TaskCancelled", "JobFailed"]
    assert story.job.error is not None
    assert story.job.error["message"] == "its workflow is gone"
