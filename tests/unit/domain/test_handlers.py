"""State nodes: a handler yields one action, and the job does it."""

import json
from typing import Any
from uuid import uuid5

import pytest

from shared.domain.errors import NotThere
from shared.domain.graph import Graph
from shared.domain.job import (
    Action,
    AwaitApproval,
    Dispatch,
    GoTo,
    HeldTask,
    Parallel,
    RunHandler,
    RunWorkflow,
    StartChild,
    TaskSpec,
)
from shared.domain.job.wait_events import HandlerDecided
from shared.domain.values import Json, Status, TaskError, to_us
from tests.unit.domain.given import BROKEN, FLAKY, ID, NOON, Story, edge, graph


def states(*edges: Json, **first: Json) -> Graph:
    nodes: dict[str, Json] = {
        "first": {"kind": "state", "handler": "begin", **first},
        "second": {"kind": "state"},
        "good": {"kind": "end"},
        "bad": {"kind": "end", "outcome": "failed"},
    }
    return graph(nodes, *edges, entry="first")


def acted(action: Action, **spec: Any) -> Story:
    story = Story(states(), 7, **spec)
    story.events()
    story.job.act(1, action, story.facts)
    return story


def test_a_state_asks_for_its_handler_until_it_decided() -> None:
    story = Story(states(), 7)
    assert story.events() == ["JobAccepted", "HandlerAwaited"]
    assert story.job.outstanding() == [RunHandler(1, "first", "begin", 7)]
    assert story.job.status is Status.PENDING
    story.job.act(1, GoTo("second", context={"seen": True}), story.facts)
    assert story.events() == ["HandlerDecided", "HandlerAwaited"]
    assert story.job.context == {"seen": True}
    assert story.job.outstanding() == [RunHandler(2, "second", "second", 7)]


def test_a_second_answer_of_a_handler_is_no_event() -> None:
    story = acted(GoTo("second"))
    story.events()
    story.job.act(1, GoTo("good"), story.facts)
    story.job.handler_failed(1, BROKEN, story.facts)
    assert story.events() == []
    with pytest.raises(NotThere):
        story.job.act(9, GoTo("good"), story.facts)
    with pytest.raises(NotThere):
        story.job.handler_failed(0, BROKEN, story.facts)


def test_going_to_an_end_ends_the_job() -> None:
    story = acted(GoTo("good", payload={"n": 1}))
    assert story.events() == ["HandlerDecided", "NodePassed", "JobSucceeded"]
    assert story.job.output == {"n": 1}
    story.job.act(1, GoTo("good"), story.facts)
    assert story.events() == []


@pytest.mark.parametrize(
    "action",
    [
        GoTo("nowhere"),
        Dispatch(TaskSpec("s"), {"success": "nowhere"}),
        Parallel((TaskSpec("s"),), "nowhere"),
        AwaitApproval("a", {"yes": "nowhere"}),
        RunWorkflow("w", {"success": "nowhere"}),
    ],
)
def test_a_handler_that_names_a_stranger_breaks_the_contract(action: Action) -> None:
    story = acted(action)
    assert story.job.error is not None
    assert (story.job.status, story.job.error["code"]) == (Status.FAILED, "unknown_node")


@pytest.mark.parametrize(
    "action",
    [
        Parallel((), "good"),
        Parallel((TaskSpec("s"),), "good", failures="maybe"),
        Parallel((TaskSpec("s"), TaskSpec("")), "good"),
        Dispatch(TaskSpec("s", retry={"max_attempts": 0}), {"success": "good"}),
        Dispatch(TaskSpec("s", retry=5), {"success": "good"}),  # type: ignore[arg-type]
        Dispatch(TaskSpec("s", urgency=2000), {"success": "good"}),
        Dispatch(TaskSpec("s", urgency="high"), {"success": "good"}),  # type: ignore[arg-type]
        Dispatch(TaskSpec("s", run_timeout=-1), {"success": "good"}),
        Dispatch(TaskSpec("s", run_timeout="9"), {"success": "good"}),  # type: ignore[arg-type]
        Dispatch(TaskSpec("s", dispatch_timeout=True), {"success": "good"}),
        Dispatch(TaskSpec("s", result_timeout=-1), {"success": "good"}),
        Parallel((TaskSpec("s", name=5),), "good"),  # type: ignore[arg-type]
        AwaitApproval("a", {}),
        AwaitApproval("a", {"yes": "good"}, timeout=0),
        AwaitApproval("a", {"yes": "good"}, message={"text": "?"}),  # type: ignore[arg-type]
        RunWorkflow("w", {"success": "good"}, dispatch_timeout="soon"),  # type: ignore[arg-type]
        RunWorkflow("w", {"success": "good"}, result_timeout=-5),
    ],
)
def test_an_action_that_means_nothing_is_a_failure_of_its_handler(action: Action) -> None:
    story = acted(action)
    assert story.events() == ["HandlerFailed", "JobFailed"]
    assert story.job.error is not None
    assert story.job.error["code"] == "invalid_action"
    assert story.job.error["message"].startswith("node 'first': ")  # type: ignore[union-attr]


def test_a_dispatched_task_takes_the_transition_of_its_port() -> None:
    spec = TaskSpec(
        "scan", {"x": 1}, retry={"max_attempts": 2, "base": 0}, run_timeout=9, dispatch_timeout=8, urgency=1
    )
    ports = {"success": "good", "partial": "second", "failure": "bad"}
    story = acted(Dispatch(spec, ports))
    assert story.events() == ["HandlerDecided", "TaskReleased"]
    scan = story.job.tasks[1]
    assert (scan.skill, scan.input, scan.run_timeout, scan.dispatch_timeout, scan.urgency) == (
        "scan",
        {"x": 1},
        9,
        8,
        1,
    )
    assert json.loads(json.dumps(scan.transitions)) == ports
    story.fails("first", FLAKY)
    assert story.job.tasks[1].attempt == 2
    story.done("first", 5, port="partial")
    assert story.waits() == {"second": 3}


def test_a_dispatched_task_that_fails_takes_its_failure_transition() -> None:
    story = acted(Dispatch(TaskSpec("scan"), {"success": "good", "failure": "second"}))
    story.fails("first")
    assert story.job.outstanding() == [RunHandler(3, "second", "second", {"error": BROKEN.to_json()})]


def test_without_a_failure_transition_a_failed_dispatch_fails_the_job() -> None:
    story = acted(Dispatch(TaskSpec("scan"), {"success": "good"}))
    story.fails("first")
    assert story.job.status is Status.FAILED


@pytest.mark.parametrize("ports", [{"success": "good"}, {"default": "good"}, {"*": "good"}])
def test_success_finds_its_transition_by_either_name(ports: dict[str, str]) -> None:
    story = acted(Dispatch(TaskSpec("scan"), ports))
    story.done("first", 1)
    assert story.job.status is Status.SUCCEEDED


def test_a_port_without_a_transition_breaks_the_contract() -> None:
    story = acted(Dispatch(TaskSpec("scan"), {"success": "good"}))
    story.done("first", 1, port="odd")
    assert story.job.error == {
        "kind": "contract_violation",
        "message": "node 'first': the port 'odd' has no transition",
        "code": "unknown_port",
    }


def test_a_transition_to_a_node_that_is_gone_breaks_the_contract() -> None:
    story = acted(Dispatch(TaskSpec("scan"), {"success": "good"}))
    story.graph = graph({"first": {"kind": "state"}})
    story.done("first", 1)
    assert story.job.error is not None
    assert "which is no node" in str(story.job.error["message"])


def test_parallel_tasks_are_aggregated_into_a_node_with_all_their_answers() -> None:
    story = acted(Parallel((TaskSpec("a"), TaskSpec("a"), TaskSpec("b", name="last")), "second"))
    assert story.events() == ["HandlerDecided", "BranchesForked"] + ["TaskReleased"] * 3
    story.job.succeed(2, 1, "w", 2, story.facts)
    story.job.fail(1, 1, "w", BROKEN, story.facts)
    assert story.job.status is Status.QUEUED
    story.job.succeed(3, 1, "w", 3, story.facts, port="odd")
    assert story.events()[-3:] == ["BranchArrived", "JoinPassed", "HandlerAwaited"]
    (handler,) = story.job.outstanding()
    assert isinstance(handler, RunHandler)
    assert handler.payload == {"a": {"error": BROKEN.to_json()}, "a_2": 2, "last": 3}


def test_parallel_tasks_may_be_all_or_nothing() -> None:
    story = acted(Parallel((TaskSpec("a"), TaskSpec("b")), "second", failures="fail"))
    story.job.fail(1, 1, "w", BROKEN, story.facts)
    assert story.job.status is Status.FAILED


def test_an_approval_follows_its_transitions() -> None:
    ports = {"yes": "good", "no": "bad", "timeout": "second"}
    story = acted(AwaitApproval("ok", ports, message="please", timeout=10))
    assert story.events() == ["HandlerDecided", "SignalAwaited"]
    assert story.last("SignalAwaited").decisions == ["yes", "no"]
    assert story.job.next_due == to_us(NOON) + 10_000_000
    story.job.approve("yes", story.facts, "client:a")
    assert (story.job.status, story.job.output) == (Status.SUCCEEDED, 7)


def test_an_approval_that_nobody_gives_takes_its_timeout_transition() -> None:
    story = acted(AwaitApproval("ok", {"yes": "good", "timeout": "second"}, timeout=10))
    story.seconds = 10
    story.job.expire(story.facts)
    assert story.waits() == {"second": 3}


def test_an_approval_without_a_timeout_transition_times_out() -> None:
    story = acted(AwaitApproval("ok", {"yes": "good"}, timeout=10))
    story.seconds = 10
    story.job.expire(story.facts)
    assert story.job.status is Status.TIMED_OUT


def test_a_workflow_is_run_as_a_child() -> None:
    story = acted(RunWorkflow("other", {"success": "good", "failure": "second"}, input=3, version=2))
    child = uuid5(ID, "child-2")
    assert story.job.outstanding() == [StartChild(2, child, "other", 2, 3)]
    story.job.child_ended(2, str(child), "failed", None, None, story.facts)
    assert story.waits() == {"second": 3}


def test_a_handler_that_raises_runs_again_while_the_policy_allows() -> None:
    story = Story(states(), retry={"max_attempts": 2})
    story.events()
    story.job.handler_failed(1, FLAKY, story.facts, attempt=1)
    story.job.handler_failed(1, FLAKY, story.facts, attempt=1)
    assert story.events() == ["HandlerFailed"]
    assert story.job.outstanding() == [RunHandler(1, "first", "begin", None, attempt=2)]
    story.job.handler_failed(1, FLAKY, story.facts, attempt=2)
    assert story.events() == ["HandlerFailed", "JobFailed"]


def test_a_handler_that_raises_takes_the_failure_edge_of_its_state() -> None:
    story = Story(states(edge("first", "second", "failure"), retry={"max_attempts": 1}))
    story.job.handler_failed(1, FLAKY, story.facts)
    assert story.waits() == {"second": 2}


def test_a_handler_can_quarantine_its_job() -> None:
    story = Story(states(), retry={"max_attempts": 1, "when_exhausted": "quarantine"})
    story.job.handler_failed(1, FLAKY, story.facts)
    assert story.job.status is Status.QUARANTINED


def test_a_handler_of_a_node_that_is_gone_still_fails_its_job() -> None:
    story = Story(states())
    story.graph = graph({"other": {"kind": "state"}})
    story.job.handler_failed(1, TaskError("permanent"), story.facts)
    assert story.job.status is Status.FAILED


def test_what_a_handler_asks_for_is_held_like_any_task() -> None:
    story = acted(Dispatch(TaskSpec("scan"), {"success": "good"}), concurrency={"key": "k", "limit": 1})
    assert story.job.outstanding() == [HeldTask(1, "scan", 500, ({"key": "k", "limit": 1},))]


@pytest.mark.parametrize(
    "action",
    [
        GoTo("second", payload=1, context={"k": 1}),
        Dispatch(TaskSpec("s", 1, name="n", retry={"base": 0}), {"success": "good"}),
        Parallel((TaskSpec("s"), TaskSpec("t")), "second"),
        AwaitApproval("ok", {"yes": "good"}, message="m", timeout=1.5),
        RunWorkflow("other", {"success": "good"}, input={"x": 1}, version=1),
    ],
)
def test_an_action_is_recorded_as_json(action: Action) -> None:
    story = acted(action)
    recorded = story.last("HandlerDecided")
    assert isinstance(recorded, HandlerDecided)
    assert json.loads(json.dumps(recorded.action)) == recorded.action
    assert recorded.action["type"] == type(action).__name__
    assert "context" not in recorded.action or isinstance(action, GoTo)


def test_transitions_of_a_state_are_its_edges() -> None:
    one = states(transitions={"failure": "second"})
    assert one.follow("first", "failure") == ("second", "")
