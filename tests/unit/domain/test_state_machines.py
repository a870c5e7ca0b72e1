"""State nodes as state machines need them: what is kept, told, placed, allowed, and how often."""

from datetime import timedelta
from typing import Any

import pytest

from shared.domain.errors import InvalidValue
from shared.domain.graph import Graph
from shared.domain.job import (
    Action,
    Dispatch,
    Emission,
    GoTo,
    JobSpec,
    Parallel,
    RunWorkflow,
    StartChild,
    TaskError,
    TaskSpec,
)
from shared.domain.job.deadlines import next_due
from shared.domain.values import Json, Status, to_us
from tests.unit.domain.given import BROKEN, FLAKY, ID, NOON, Story, graph

QUARANTINE: dict[str, Json] = {
    "max_attempts": 2,
    "base": 0,
    "when_exhausted": "quarantine",
    "quarantine": ["permanent", "contract_violation"],
}
STOPPED = TaskError("cancelled", "stopped by hand")


def states() -> Graph:
    nodes: dict[str, Json] = {name: {"kind": "state"} for name in ("first", "second", "failed")}
    return graph({**nodes, "good": {"kind": "end"}}, entry="first")


def acted(action: Action, **spec: Any) -> Story:
    story = Story(states(), 7, **spec)
    story.events()
    story.job.act(1, action, story.facts)
    return story


def dispatched(transitions: dict[str, str] | None = None, **task: Any) -> Story:
    return acted(Dispatch(TaskSpec("s", **task), transitions or {"success": "second"}), retry=QUARANTINE)


# -- what is kept


def test_the_object_that_a_remembered_task_gives_is_kept_for_later_handlers() -> None:
    story = dispatched(remember=True)
    story.done("first", {"path": "/a"})
    assert story.job.context == {"path": "/a"}


@pytest.mark.parametrize(("task", "output"), [({}, {"path": "/a"}), ({"remember": True}, "/a")])
def test_nothing_else_is_kept(task: dict[str, Any], output: Json) -> None:
    story = dispatched(**task)
    story.done("first", output)
    assert story.job.context == {}


# -- what follows a failure


def test_a_failure_that_the_handler_foresaw_is_followed_and_quarantines_nothing() -> None:
    story = dispatched({"success": "second", "failure": "failed"})
    story.fails("first", BROKEN)
    assert story.job.status is Status.PENDING
    assert story.job.state == "failed"


def test_a_failure_that_nobody_foresaw_quarantines() -> None:
    story = dispatched()
    story.fails("first", BROKEN)
    assert story.job.status is Status.QUARANTINED


def test_a_failure_that_may_pass_is_tried_again_before_it_is_followed() -> None:
    story = dispatched({"success": "second", "failure": "failed"})
    story.fails("first", FLAKY)
    assert story.tasks() == {"first": 1}
    story.fails("first", FLAKY)
    assert story.job.state == "failed"


def test_a_status_of_the_workers_own_leads_where_the_handler_said() -> None:
    story = dispatched({"success": "good", "needs_review": "second"})
    story.done("first", {}, port="needs_review")
    assert story.job.state == "second"


def test_a_status_without_a_transition_fails_the_job() -> None:
    story = dispatched()
    story.done("first", {}, port="odd")
    assert story.job.error is not None
    assert story.job.error["code"] == "unknown_port"


def test_a_stopped_task_takes_its_own_transition_and_not_that_of_failures() -> None:
    story = dispatched({"success": "second", "failure": "failed", "cancelled": "second"})
    story.fails("first", STOPPED)
    assert story.job.state == "second"
    story = dispatched({"success": "second", "failure": "failed"})
    story.fails("first", STOPPED)
    assert story.job.status is Status.CANCELLED


@pytest.mark.parametrize("error", [BROKEN, STOPPED])
def test_a_failed_branch_is_an_answer_also_where_its_kind_would_quarantine(error: TaskError) -> None:
    story = acted(Parallel((TaskSpec("a"), TaskSpec("b")), "second"), retry=QUARANTINE)
    story.job.fail(1, 1, "w", error, story.facts)
    assert story.job.status is Status.QUEUED
    story.job.succeed(2, 1, "w", 5, story.facts)
    assert story.job.state == "second"
    assert story.job.outputs["second"] == {"a": {"error": {**error.to_json(), **_port(error)}}, "b": 5}


def _port(error: TaskError) -> dict[str, Json]:
    return {"port": "cancelled"} if error.kind == "cancelled" else {}


# -- events


def emitted(story: Story, name: str, payload: Json = None, id: str = "") -> Any:  # noqa: A002
    return story.job.emit(1, 1, "w", name, payload, story.facts, id)


def test_what_a_worker_tells_is_an_event_of_the_job_once() -> None:
    story = dispatched()
    story.events()
    for _ in range(2):
        assert emitted(story, "checkpoint", {"n": 1}, "e1").accepted
    assert story.events() == ["EventEmitted"]
    told = story.last("EventEmitted")
    assert (told.name, told.payload, told.by, told.task, told.attempt) == (
        "checkpoint",
        {"n": 1},
        "worker:w",
        1,
        1,
    )


def test_an_event_with_a_transition_leaves_the_task_and_moves_the_job() -> None:
    story = dispatched(event_transitions={"alarm": "failed"}, remember=True)
    story.events()
    assert emitted(story, "alarm", {"heat": 90}, "e1").accepted
    assert story.events() == ["EventEmitted", "TaskCancelled", "HandlerAwaited"]
    assert (story.job.state, story.job.context) == ("failed", {"heat": 90})
    assert emitted(story, "alarm", {"heat": 90}, "e1").reason == "stale"
    assert story.job.succeed(1, 1, "w", 5, story.facts).reason == "stale"


def test_an_event_of_a_task_that_is_over_is_ignored() -> None:
    story = dispatched()
    story.done("first")
    assert emitted(story, "late").reason == "finished"


def test_what_a_handler_tells_stands_before_what_it_chose() -> None:
    story = acted(GoTo("second", events=(Emission("hello", {"n": 1}),)))
    assert story.events() == ["HandlerDecided", "EventEmitted", "HandlerAwaited"]
    assert story.last("EventEmitted").by == "handler:first"
    assert story.last("HandlerDecided").action == {"type": "GoTo", "node": "second"}


def test_an_event_cannot_lead_to_a_stranger() -> None:
    story = dispatched(event_transitions={"alarm": "nowhere"})
    assert story.job.error is not None
    assert story.job.error["code"] == "unknown_node"


# -- placement


def test_a_placed_task_is_released_without_asking_for_room_and_keeps_its_placement() -> None:
    story = Story(states(), 7, room=False, retry=QUARANTINE)
    action = Dispatch(TaskSpec("s", placement={"max_cost": 2}), {"success": "second"})
    story.job.act(1, action, story.facts)
    assert story.last("TaskReleased").placement == {"max_cost": 2}
    story.fails("first", FLAKY)
    released = story.last("TaskReleased")
    assert (released.attempt, released.placement) == (2, {"max_cost": 2})


def test_a_task_node_may_be_placed() -> None:
    placed = graph({"a": {"kind": "task", "skill": "s", "placement": {"worker": "w7"}}})
    assert Story(placed).last("TaskReleased").placement == {"worker": "w7"}
    with pytest.raises(Exception, match="placement must be an object"):
        graph({"a": {"kind": "task", "skill": "s", "placement": "w7"}})


# -- time


def test_a_result_must_come_in_time_whatever_the_attempt() -> None:
    story = dispatched({"success": "second", "failure": "failed"}, result_timeout=10.0)
    assert next_due(story.job) == to_us(NOON + timedelta(seconds=10))
    story.fails("first", FLAKY)
    story.seconds = 10
    story.job.expire(story.facts)
    assert story.last("TaskTimedOut").what == "result"
    assert story.job.state == "failed"


# -- policy and bounds


@pytest.mark.parametrize(
    "action", [Dispatch(TaskSpec("b"), {}), Parallel((TaskSpec("a"), TaskSpec("b")), "second")]
)
def test_a_skill_that_the_policy_does_not_allow_is_never_dispatched(action: Action) -> None:
    story = acted(action, policy={"allowed_skills": ["a"]}, retry=QUARANTINE)
    assert story.job.tasks == {}
    assert story.job.status is Status.QUARANTINED
    assert story.job.error is not None
    assert story.job.error["code"] == "policy_violation"


def test_a_skill_that_the_policy_allows_is_dispatched() -> None:
    assert acted(Dispatch(TaskSpec("a"), {}), policy={"allowed_skills": ["a"]}).job.live_tasks


@pytest.mark.parametrize("allowed", [[], "a", [1]])
def test_a_policy_that_cannot_be_read_is_refused(allowed: Json) -> None:
    with pytest.raises(InvalidValue, match="allowed_skills"):
        JobSpec(skill="s", policy={"allowed_skills": allowed}).check()


def test_a_job_that_goes_round_in_circles_fails_at_its_bound() -> None:
    story = Story(states(), 7, max_transitions=3)
    for activation in (1, 2, 3):
        assert story.job.ended is None
        story.job.act(activation, GoTo("first"), story.facts)
    assert story.job.status is Status.FAILED
    assert story.job.error is not None
    assert "maximum transitions (3)" in str(story.job.error["message"])


def test_a_bound_below_one_is_refused() -> None:
    with pytest.raises(InvalidValue, match="max_transitions"):
        JobSpec(skill="s", max_transitions=0).check()
    with pytest.raises(InvalidValue, match="max_depth"):
        JobSpec(skill="s", max_depth=0).check()


# -- children


def test_a_child_has_the_times_that_the_handler_gave_it() -> None:
    action = RunWorkflow("w", {"success": "second"}, dispatch_timeout=5.0, result_timeout=10.0)
    child = acted(action).job.outstanding()[0]
    assert isinstance(child, StartChild)
    assert (child.dispatch_timeout, child.deadline) == (5.0, to_us(NOON + timedelta(seconds=10)))


@pytest.mark.parametrize(
    ("outcome", "error", "told"),
    [
        ("succeeded", None, {"outcome": "success", "final_state": "done", "error_message": None}),
        (
            "quarantined",
            {"message": "no"},
            {"outcome": "failure", "final_state": "done", "error_message": "no"},
        ),
    ],
)
def test_the_end_of_a_child_is_kept_for_later_handlers_however_it_ended(
    outcome: str, error: dict[str, Json] | None, told: dict[str, Json]
) -> None:
    story = acted(RunWorkflow("w", {"success": "second", "failure": "failed"}))
    child = story.job.outstanding()[0]
    assert isinstance(child, StartChild)
    story.job.child_ended(2, str(child.child), outcome, 5, error, story.facts, "done")
    assert story.job.context == {f"sub_job_{child.child}_result": told}
    assert story.job.state == ("second" if error is None else "failed")


def test_jobs_nested_too_deep_are_quarantined_where_such_failures_are() -> None:
    story = acted(RunWorkflow("w", {"success": "second"}), depth=10, retry=QUARANTINE)
    assert story.job.status is Status.QUARANTINED
    assert story.job.id == ID
