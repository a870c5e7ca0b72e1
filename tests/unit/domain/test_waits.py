"""Approvals, signals, timers and child jobs."""

from uuid import UUID, uuid5

import pytest

from shared.domain.errors import IllegalTransition, InvalidValue, NotThere
from shared.domain.graph import Graph
from shared.domain.job import CancelChild, StartChild, StartTimer
from shared.domain.job.walk import MAX_DEPTH
from shared.domain.values import Json, Status, TaskError, to_us
from tests.unit.domain.given import ID, NOON, Story, edge, graph, task


def waiting(what: str, *edges: Json, **wait: Json) -> Graph:
    nodes: dict[str, Json] = {"w": {"kind": "wait", "for": what, **wait}, "a": task(), "b": task()}
    used = {str(e["to"]) for e in edges if isinstance(e, dict)}
    return graph({name: node for name, node in nodes.items() if name == "w" or name in used}, *edges)


def approval(**fields: Json) -> Graph:
    fields.setdefault("decisions", ["yes", "no"])
    return waiting("approval", edge("w", "a", "yes"), edge("w", "b", "no"), **fields)


# -- approvals


def test_an_approval_follows_the_decision_with_the_payload() -> None:
    story = Story(approval(name="release", message="go?"), 7)
    assert story.events() == ["JobAccepted", "SignalAwaited"]
    assert story.job.status is Status.WAITING_SIGNAL
    story.job.approve("no", story.facts, "client:a")
    assert story.events() == ["ApprovalReceived", "TaskReleased"]
    assert story.tasks() == {"b": 1}
    assert story.job.tasks[1].input == 7
    assert story.job.outputs["w"] == {"decision": "no", "by": "client:a"}


def test_the_same_decision_again_is_no_event_and_another_is_refused() -> None:
    story = Story(approval(name="release"))
    story.job.approve("yes", story.facts)
    story.events()
    story.job.approve("yes", story.facts)
    story.job.approve("yes", story.facts, name="release")
    assert story.events() == []
    with pytest.raises(IllegalTransition):
        story.job.approve("no", story.facts)
    with pytest.raises(IllegalTransition):
        story.job.approve("yes", story.facts, name="other")


def test_a_decision_must_be_one_of_those_that_are_possible() -> None:
    story = Story(approval())
    with pytest.raises(InvalidValue):
        story.job.approve("maybe", story.facts)


def test_an_approval_without_named_decisions_takes_any() -> None:
    story = Story(waiting("approval", edge("w", "a")))
    story.job.approve("whatever", story.facts)
    assert list(story.tasks()) == ["a"]


def test_a_decision_without_an_edge_breaks_the_contract_when_others_have_one() -> None:
    story = Story(waiting("approval", edge("w", "a", "yes")))
    story.job.approve("no", story.facts)
    assert story.job.error is not None
    assert story.job.error["code"] == "unknown_port"


def test_of_two_approvals_one_must_be_named() -> None:
    nodes: dict[str, Json] = {
        "f": {"kind": "fork"},
        "x": {"kind": "wait", "for": "approval"},
        "y": {"kind": "wait", "for": "approval"},
        "j": {"kind": "join"},
    }
    edges = [edge("f", "x"), edge("f", "y"), edge("x", "j"), edge("y", "j")]
    story = Story(graph(nodes, *edges))
    with pytest.raises(InvalidValue, match="x, y"):
        story.job.approve("yes", story.facts)
    story.job.approve("yes", story.facts, name="y")
    story.job.approve("no", story.facts)
    assert story.job.status is Status.SUCCEEDED


def test_an_approval_that_nobody_gives_takes_the_timeout_edge() -> None:
    story = Story(waiting("approval", edge("w", "a", "timeout"), edge("w", "b"), timeout=10))
    assert story.job.next_due == to_us(NOON) + 10_000_000
    assert story.job.outstanding() == []
    story.seconds = 10
    story.events()
    story.job.expire(story.facts)
    assert story.events() == ["WaitEnded", "TaskReleased"]
    assert list(story.tasks()) == ["a"]


def test_without_a_timeout_edge_the_job_times_out() -> None:
    story = Story(approval(timeout=10))
    story.seconds = 11
    story.job.expire(story.facts)
    assert story.job.status is Status.TIMED_OUT
    assert story.job.error is not None
    assert story.job.error["code"] == "wait_timeout"


# -- signals


def signal(*edges: Json, **fields: Json) -> Graph:
    return waiting("signal", edge("w", "a"), *edges, name="go", **fields)


def test_a_signal_wakes_the_wait_of_its_name_with_its_payload() -> None:
    story = Story(signal(), 7)
    story.events()
    story.job.signal("go", {"n": 1}, story.facts, "client:a")
    assert story.events() == ["SignalReceived", "TaskReleased"]
    assert story.job.tasks[1].input == {"n": 1}
    story.job.signal("go", {"n": 1}, story.facts, "client:a")
    assert story.events() == []


def test_a_signal_without_payload_passes_the_old_one_on() -> None:
    story = Story(signal(), 7)
    story.job.signal("go", None, story.facts)
    assert story.job.tasks[1].input == 7


def test_a_signal_that_comes_early_is_kept() -> None:
    nodes: dict[str, Json] = {"a": task(), "w": {"kind": "wait", "for": "signal", "name": "go"}, "b": task()}
    story = Story(graph(nodes, edge("a", "w"), edge("w", "b")))
    story.job.signal("go", 1, story.facts)
    story.job.signal("go", 1, story.facts)
    story.job.signal("go", 2, story.facts)
    assert story.events()[2:] == ["SignalReceived", "SignalReceived"]
    story.done("a", 5)
    assert story.events() == ["TaskSucceeded", "SignalAwaited", "WaitEnded", "TaskReleased"]
    assert story.job.tasks[2].input == 2
    assert story.job.signals == {}


def test_an_early_signal_without_payload_passes_the_old_one_on() -> None:
    nodes: dict[str, Json] = {"a": task(), "w": {"kind": "wait", "for": "signal", "name": "go"}, "b": task()}
    story = Story(graph(nodes, edge("a", "w"), edge("w", "b")))
    story.job.signal("go", None, story.facts)
    story.done("a", 5)
    assert story.job.tasks[2].input == 5


def test_a_signal_that_the_graph_never_waits_for_is_refused() -> None:
    story = Story(signal())
    with pytest.raises(NotThere):
        story.job.signal("stop", None, story.facts)


def test_a_wait_for_a_signal_has_its_patience() -> None:
    story = Story(signal(timeout=3))
    story.seconds = 3
    story.job.expire(story.facts)
    assert story.job.status is Status.TIMED_OUT


# -- timers


def test_a_timer_asks_for_its_wake_up_until_it_came() -> None:
    story = Story(waiting("timer", edge("w", "a"), seconds=60), 7)
    timer = StartTimer("wait-1", to_us(NOON) + 60_000_000)
    assert story.job.outstanding() == [timer]
    story.events()
    story.job.wake("wait-9", story.facts)
    assert story.events() == []
    story.job.wake("wait-1", story.facts)
    story.job.wake("wait-1", story.facts)
    assert story.events() == ["WaitEnded", "TaskReleased"]
    assert story.job.tasks[1].input == 7
    assert story.job.outstanding() == []


def test_an_overdue_timer_is_woken_by_the_sweep() -> None:
    story = Story(waiting("timer", edge("w", "a"), seconds={"cel": "input.s"}), {"s": 5})
    story.seconds = 4
    story.job.expire(story.facts)
    assert list(story.tasks()) == []
    story.seconds = 5
    story.job.expire(story.facts)
    assert list(story.tasks()) == ["a"]


@pytest.mark.parametrize("seconds", ["x", -1, True, 1e10])
def test_a_delay_that_is_no_number_fails_the_node(seconds: Json) -> None:
    story = Story(waiting("timer", edge("w", "a"), seconds={"cel": "input"}), seconds)
    assert story.job.error is not None
    assert story.job.error["kind"] == "invalid_input"


# -- children


CHILD = uuid5(ID, "child-1")


def subflow(*edges: Json, **fields: Json) -> Graph:
    nodes: dict[str, Json] = {
        "s": {"kind": "subflow", "workflow": "other", **fields},
        "a": task(),
        "b": task(),
    }
    used = {str(e["to"]) for e in edges if isinstance(e, dict)}
    return graph({name: node for name, node in nodes.items() if name == "s" or name in used}, *edges)


def test_a_subflow_asks_for_its_child_until_it_ended() -> None:
    story = Story(subflow(edge("s", "a"), version=3, input={"x": {"cel": "input"}}), 7)
    assert story.job.outstanding() == [StartChild(1, CHILD, "other", 3, {"x": 7})]
    assert story.job.status is Status.WAITING_CHILDREN
    story.events()
    story.job.child_ended(1, str(CHILD), "succeeded", 8, None, story.facts)
    story.job.child_ended(1, str(CHILD), "succeeded", 8, None, story.facts)
    assert story.events() == ["ChildEnded", "TaskReleased"]
    assert story.job.tasks[1].input == 8
    assert story.job.outstanding() == []


@pytest.mark.parametrize("outcome", ["failed", "timed_out", "cancelled", "quarantined"])
def test_a_child_wakes_its_parent_whatever_became_of_it(outcome: str) -> None:
    story = Story(subflow(edge("s", "a"), edge("s", "b", "failure")))
    error: dict[str, Json] = {"kind": "permanent", "message": "why", "code": "c"}
    story.job.child_ended(1, str(CHILD), outcome, None, error, story.facts)
    assert list(story.tasks()) == ["b"]
    assert story.job.tasks[1].input == {"error": {"kind": "permanent", "message": "why", "code": "c"}}


def test_a_child_that_fails_without_a_failure_edge_fails_the_job() -> None:
    story = Story(subflow(edge("s", "a")))
    story.job.child_ended(1, str(CHILD), "timed_out", None, None, story.facts)
    assert story.job.status is Status.TIMED_OUT
    story = Story(subflow())
    story.job.child_ended(1, str(CHILD), "cancelled", None, {"kind": 5}, story.facts)
    assert (story.job.status, story.job.error) == (
        Status.FAILED,
        {
            "kind": "permanent",
            "message": f"the job {CHILD} ended as cancelled",
            "code": "cancelled",
        },
    )


def test_a_stranger_is_no_child() -> None:
    story = Story(subflow())
    story.events()
    with pytest.raises(NotThere):
        story.job.child_ended(2, str(CHILD), "succeeded", 8, None, story.facts)
    story.job.child_ended(1, str(UUID(int=5)), "succeeded", 8, None, story.facts)
    assert story.events() == []


def test_jobs_nest_only_so_deep() -> None:
    story = Story(subflow(), depth=MAX_DEPTH)
    assert story.job.error is not None
    assert story.job.error["code"] == "depth_bound"


def test_a_job_may_say_how_deep_jobs_nest() -> None:
    assert Story(subflow(), depth=MAX_DEPTH, max_depth=MAX_DEPTH + 1).job.error is None
    shallow = Story(subflow(), depth=1, max_depth=1)
    assert shallow.job.error is not None
    assert str(shallow.job.error["message"]).endswith("jobs are nested deeper than 1")


def test_the_end_of_a_job_leaves_its_children_to_be_cancelled() -> None:
    story = Story(subflow())
    story.job.cancel(story.facts)
    assert story.job.outstanding() == [CancelChild(1, CHILD)]
    story.events()
    story.job.child_ended(1, str(CHILD), "cancelled", None, None, story.facts)
    assert story.events() == []


def test_a_child_that_was_given_up_is_asked_to_cancel_until_it_ended() -> None:
    nodes: dict[str, Json] = {
        "f": {"kind": "fork"},
        "s": {"kind": "subflow", "workflow": "other"},
        "a": task(),
        "j": {"kind": "join", "wait": "any"},
        "b": task(),
    }
    edges = [edge("f", "s"), edge("f", "a"), edge("s", "j"), edge("a", "j"), edge("j", "b")]
    story = Story(graph(nodes, *edges))
    child = str(uuid5(ID, "child-2"))
    story.done("a", 1)
    assert story.job.outstanding() == [CancelChild(2, UUID(child))]
    story.events()
    story.job.child_ended(2, child, "cancelled", None, None, story.facts)
    story.job.child_ended(2, child, "cancelled", None, None, story.facts)
    assert story.events() == ["ChildEnded"]
    assert story.job.outstanding() == []


def test_after_the_end_nothing_wakes_a_job() -> None:
    story = Story(waiting("timer", seconds=60))
    story.job.cancel(story.facts)
    story.events()
    story.seconds = 100
    story.job.wake("wait-1", story.facts)
    story.job.expire(story.facts)
    story.job.child_ended(1, str(CHILD), "succeeded", 1, None, story.facts)
    story.job.handler_failed(1, TaskError("transient"), story.facts)
    assert story.events() == []
    assert story.job.next_due is None
    with pytest.raises(IllegalTransition):
        story.job.signal("x", None, story.facts)
    with pytest.raises(IllegalTransition):
        story.job.approve("x", story.facts)
    with pytest.raises(IllegalTransition):
        story.job.pause(story.facts)
    with pytest.raises(IllegalTransition):
        story.job.resume(story.facts)
