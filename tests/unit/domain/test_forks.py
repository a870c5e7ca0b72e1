"""Forks and joins: all, any, n; what fails, what comes late, what never arrives."""

import pytest

from shared.domain.graph import Graph
from shared.domain.job import StartTimer
from shared.domain.values import Json, Status, TaskError
from tests.unit.domain.given import BROKEN, Story, edge, graph, task


def forked(branches: int = 2, after: bool = False, **join: Json) -> Graph:
    names = [f"b{index}" for index in range(branches)]
    nodes: dict[str, Json] = {
        "fork": {"kind": "fork"},
        "join": {"kind": "join", **join},
        **{name: task() for name in names},
    }
    edges = [edge("fork", name) for name in names] + [edge(name, "join") for name in names]
    if after:
        nodes["after"] = task()
        edges.append(edge("join", "after"))
    return graph(nodes, *edges)


def test_a_fork_releases_all_its_tasks_in_one_decision() -> None:
    story = Story(forked(3), input=5)
    assert story.events() == ["JobAccepted", "BranchesForked"] + ["TaskReleased"] * 3
    assert [t.input for t in story.job.tasks.values()] == [5, 5, 5]
    assert story.job.status is Status.QUEUED


def test_each_result_is_two_events_and_the_last_passes_the_join_once() -> None:
    story = Story(forked(3, after=True))
    story.events()
    story.done("b1", 1)
    assert story.events() == ["TaskSucceeded", "BranchArrived"]
    story.done("b0", 0)
    story.done("b2", 2)
    assert story.events() == ["TaskSucceeded", "BranchArrived"] * 2 + ["JoinPassed", "TaskReleased"]
    assert story.job.tasks[4].input == {"b0": 0, "b1": 1, "b2": 2}
    story.done("after", "end")
    assert story.events() == ["TaskSucceeded", "JobSucceeded"]
    assert story.job.output == "end"


def test_any_takes_the_first_and_cancels_the_late() -> None:
    story = Story(forked(3, wait="any", merge="list"))
    story.events()
    story.done("b1", 1)
    assert story.events() == [
        "TaskSucceeded",
        "BranchArrived",
        "TaskCancelled",
        "TaskCancelled",
        "JoinPassed",
        "JobSucceeded",
    ]
    assert story.job.output == [1]
    assert story.job.succeed(1, 1, "w1", 0, story.facts).reason == "stale"


def test_n_waits_for_n() -> None:
    story = Story(forked(3, wait=2, merge="list"))
    story.done("b2", 2)
    assert not story.job.is_ended
    story.done("b0", 0)
    assert story.job.output == [0, 2]


def test_a_failure_ends_a_join_that_waits_for_all() -> None:
    story = Story(forked(3))
    story.events()
    story.fails("b1")
    assert story.events() == ["TaskFailed", "TaskCancelled", "TaskCancelled", "JobFailed"]


def test_a_failure_is_no_obstacle_while_enough_can_still_arrive() -> None:
    story = Story(forked(3, wait=2, merge="list"))
    story.fails("b0")
    assert story.events()[-2:] == ["TaskFailed", "BranchArrived"]
    story.done("b1", 1)
    story.done("b2", 2)
    assert story.job.output == [1, 2]


def test_a_failure_too_many_fails_the_job() -> None:
    story = Story(forked(3, wait=2))
    story.fails("b0")
    story.fails("b1", TaskError("permanent", "also"))
    assert story.job.status is Status.FAILED
    assert story.job.error == {"kind": "permanent", "message": "also"}


def test_collected_failures_are_answers() -> None:
    story = Story(forked(2, failures="collect"))
    story.fails("b0")
    story.done("b1", 1)
    assert story.job.output == {"b0": {"error": BROKEN.to_json()}, "b1": 1}


def test_a_failed_join_follows_its_failure_edge() -> None:
    nodes: dict[str, Json] = {
        "f": {"kind": "fork"},
        "a": task(),
        "b": task(),
        "j": {"kind": "join"},
        "x": task(),
    }
    edges = [edge("f", "a"), edge("f", "b"), edge("a", "j"), edge("b", "j"), edge("j", "x", "failure")]
    story = Story(graph(nodes, *edges))
    story.events()
    story.fails("a")
    assert story.events() == ["TaskFailed", "TaskCancelled", "NodeCancelled", "TaskReleased"]
    assert story.job.tasks[3].input == {"error": BROKEN.to_json()}


def test_keys_are_merged_and_collisions_get_a_number() -> None:
    story = Story(forked(4, merge="keys"))
    story.done("b0", {"same": 1, "other": 1})
    story.done("b1", {"same": 1, "other": 2})
    story.done("b2", {"other": 3})
    story.done("b3", "no object")
    assert story.job.output == {"same": 1, "other": 1, "other_2": 2, "other_3": 3, "b3": "no object"}


def test_branches_that_arrive_from_one_node_are_told_apart() -> None:
    nodes: dict[str, Json] = {
        "f": {"kind": "fork"},
        "a": task(),
        "b": task(),
        "same": {"kind": "inline", "set": {"x": {"cel": "last"}}},
        "j": {"kind": "join"},
    }
    edges = [edge("f", "a"), edge("f", "b"), edge("a", "same"), edge("b", "same"), edge("same", "j")]
    story = Story(graph(nodes, *edges))
    story.done("b", 2)
    story.done("a", 1)
    assert story.job.output == {"same": {"x": 1}, "same_2": {"x": 2}}


def test_a_branch_of_two_steps_arrives_with_its_last_output() -> None:
    nodes: dict[str, Json] = {
        "f": {"kind": "fork"},
        "a": task(),
        "b": task(),
        "c": task(),
        "j": {"kind": "join"},
    }
    story = Story(
        graph(nodes, edge("f", "a"), edge("f", "c"), edge("a", "b"), edge("b", "j"), edge("c", "j"))
    )
    story.done("a", 1)
    story.done("b", 2)
    story.done("c", 3)
    assert story.job.output == {"b": 2, "c": 3}


def test_a_branch_that_ends_elsewhere_is_not_waited_for() -> None:
    nodes: dict[str, Json] = {
        "f": {"kind": "fork"},
        "a": task(),
        "r": {"kind": "route", "cases": [{"when": "last.go", "port": "go"}]},
        "b": task(),
        "j": {"kind": "join"},
    }
    edges = [edge("f", "a"), edge("f", "b"), edge("a", "r"), edge("r", "j", "go"), edge("b", "j")]
    story = Story(graph(nodes, *edges))
    story.events()
    story.done("a", {"go": False})
    assert story.events() == ["TaskSucceeded", "NodePassed", "BranchEnded"]
    story.done("b", 2)
    assert story.job.output == {"b": 2}


def test_a_join_that_no_branch_reaches_ends_its_path() -> None:
    nodes: dict[str, Json] = {
        "f": {"kind": "fork"},
        "a": task(),
        "r": {"kind": "route", "cases": [{"when": "false", "port": "go"}]},
        "j": {"kind": "join"},
        "never": task(),
    }
    edges = [edge("f", "a"), edge("a", "r"), edge("r", "j", "go"), edge("j", "never")]
    story = Story(graph(nodes, *edges))
    story.done("a", 1)
    assert story.job.output == 1
    assert story.events()[-3:] == ["BranchEnded", "JoinPassed", "JobSucceeded"]


def test_without_a_join_the_job_ends_with_the_last_branch() -> None:
    nodes: dict[str, Json] = {"f": {"kind": "fork"}, "a": task(), "b": task()}
    story = Story(graph(nodes, edge("f", "a"), edge("f", "b")))
    story.done("b", 2)
    assert not story.job.is_ended
    story.done("a", 1)
    assert story.job.output == 1


def test_without_a_join_a_failure_fails_the_job() -> None:
    nodes: dict[str, Json] = {"f": {"kind": "fork"}, "a": task(), "b": task()}
    story = Story(graph(nodes, edge("f", "a"), edge("f", "b")))
    story.fails("b")
    assert story.job.status is Status.FAILED


def test_an_edge_straight_to_the_join_is_an_answer() -> None:
    nodes: dict[str, Json] = {"f": {"kind": "fork"}, "a": task(), "j": {"kind": "join", "wait": "any"}}
    story = Story(graph(nodes, edge("f", "j", "now"), edge("f", "a"), edge("a", "j")), input=7)
    assert story.job.output == {"j": 7}
    assert story.events() == ["JobAccepted", "BranchesForked", "BranchArrived", "JoinPassed", "JobSucceeded"]


def test_a_branch_that_is_decided_at_once_drops_the_others_before_they_begin() -> None:
    nodes: dict[str, Json] = {
        "f": {"kind": "fork"},
        "now": {"kind": "inline", "set": {"x": 1}},
        "a": task(),
        "j": {"kind": "join", "wait": "any"},
    }
    story = Story(graph(nodes, edge("f", "now"), edge("f", "a"), edge("now", "j"), edge("a", "j")))
    assert "TaskReleased" not in story.events()
    assert story.job.output == {"now": {"x": 1}}


def test_forks_nest() -> None:
    nodes: dict[str, Json] = {
        "f": {"kind": "fork"},
        "g": {"kind": "fork"},
        "a": task(),
        "b": task(),
        "c": task(),
        "j": {"kind": "join"},
        "k": {"kind": "join"},
    }
    edges = [
        edge("f", "a"),
        edge("f", "g"),
        edge("g", "b"),
        edge("g", "c"),
        edge("b", "k"),
        edge("c", "k"),
        edge("k", "j"),
        edge("a", "j"),
    ]
    story = Story(graph(nodes, *edges))
    story.done("b", 2)
    story.done("a", 1)
    story.done("c", 3)
    assert story.job.output == {"a": 1, "k": {"b": 2, "c": 3}}


def test_only_the_late_branches_of_the_inner_fork_are_given_up() -> None:
    nodes: dict[str, Json] = {
        "f": {"kind": "fork"},
        "g": {"kind": "fork"},
        "a": task(),
        "b": task(),
        "c": task(),
        "j": {"kind": "join"},
        "k": {"kind": "join", "wait": "any"},
    }
    edges = [edge("f", "a"), edge("f", "g"), edge("g", "b"), edge("g", "c")]
    edges += [edge("b", "k"), edge("c", "k"), edge("k", "j"), edge("a", "j")]
    story = Story(graph(nodes, *edges))
    story.events()
    story.done("b", 2)
    assert list(story.tasks()) == ["a"]
    story.done("a", 1)
    assert story.job.output == {"a": 1, "k": {"b": 2}}


def test_a_late_branch_with_a_timer_and_a_child_gives_both_up() -> None:
    nodes: dict[str, Json] = {
        "f": {"kind": "fork"},
        "a": task(),
        "t": {"kind": "wait", "for": "timer", "seconds": 60},
        "s": {"kind": "subflow", "workflow": "other"},
        "j": {"kind": "join", "wait": "any"},
        "after": task(),
    }
    edges = [edge("f", n) for n in ("a", "t", "s")] + [edge(n, "j") for n in ("a", "t", "s")]
    story = Story(graph(nodes, *edges, edge("j", "after")))
    effects = story.job.outstanding()
    assert [type(effect).__name__ for effect in effects] == ["StartTimer", "StartChild"]
    story.events()
    story.done("a", 1)
    assert story.events() == [
        "TaskSucceeded",
        "BranchArrived",
        "NodeCancelled",
        "NodeCancelled",
        "JoinPassed",
        "TaskReleased",
    ]
    assert not any(isinstance(effect, StartTimer) for effect in story.job.outstanding())
    assert [type(effect).__name__ for effect in story.job.outstanding()] == ["CancelChild"]


@pytest.mark.parametrize("wait", ["all", "any", 1])
def test_a_fork_of_one_branch_is_a_chain(wait: Json) -> None:
    story = Story(forked(1, wait=wait))
    story.done("b0", 1)
    assert story.job.output == {"b0": 1}


def test_a_join_that_a_single_path_reaches_is_passed() -> None:
    nodes: dict[str, Json] = {
        "r": {"kind": "route", "cases": [{"when": "input.many", "port": "many"}]},
        "f": {"kind": "fork"},
        "a": task(),
        "b": task(),
        "j": {"kind": "join"},
    }
    edges = [
        edge("r", "f", "many"),
        edge("r", "b"),
        edge("f", "a"),
        edge("f", "b"),
        edge("a", "j"),
        edge("b", "j"),
    ]
    story = Story(graph(nodes, *edges), input={"many": False})
    story.done("b", 1)
    assert story.job.output == 1
