"""Loops: over lists and by condition, sequential and several at a time, broken, failed and bounded."""

from shared.domain.graph import Graph
from shared.domain.values import Json, Status
from tests.unit.domain.given import BROKEN, Story, edge, graph, task


def looped(*more: Json, body: Json = None, **loop: Json) -> Graph:
    nodes: dict[str, Json] = {"loop": {"kind": "loop", **loop}, "body": body or task()}
    return graph(nodes, edge("loop", "body", "body"), edge("body", "loop"), *more)


OVER: dict[str, Json] = {"cel": "input.items"}
THREE: Json = {"items": ["a", "b", "c"]}


def test_a_loop_runs_its_body_for_each_item_in_turn() -> None:
    story = Story(looped(over=OVER), THREE)
    assert story.events() == ["JobAccepted", "LoopStarted", "IterationStarted", "TaskReleased"]
    for item in "abc":
        assert story.job.tasks[story.tasks()["body"]].input == item
        story.done("body", item.upper())
    assert story.events()[-4:] == ["TaskSucceeded", "IterationEnded", "LoopEnded", "JobSucceeded"]
    assert story.job.output == ["A", "B", "C"]


def test_width_runs_so_many_at_a_time_and_keeps_the_order_of_the_outputs() -> None:
    story = Story(looped(over=OVER, width=2), THREE)
    assert len(story.job.live_tasks) == 2
    story.job.succeed(2, 1, "w", "second", story.facts)
    assert [t.id for t in story.job.live_tasks.values()] == [1, 3]
    story.job.succeed(3, 1, "w", "third", story.facts)
    story.job.succeed(1, 1, "w", "first", story.facts)
    assert story.job.output == ["first", "second", "third"]


def test_a_loop_over_nothing_is_over_at_once() -> None:
    story = Story(looped(over=OVER), {"items": []})
    assert story.job.output == []


def test_a_literal_list_is_looped_over() -> None:
    story = Story(looped(over=[1, 2], width=5))
    assert [t.input for t in story.job.tasks.values()] == [1, 2]


def test_item_and_index_are_those_of_the_innermost_loop() -> None:
    body = task(input={"item": {"cel": "item"}, "index": {"cel": "index"}, "of": {"cel": "input.items"}})
    story = Story(looped(over=OVER, body=body), {"items": [7, 8]})
    assert story.job.tasks[1].input == {"item": 7, "index": 0, "of": [7, 8]}
    story.done("body", 1)
    assert story.job.tasks[2].input == {"item": 8, "index": 1, "of": [7, 8]}


def test_inside_a_fork_inside_a_loop_the_item_is_still_seen() -> None:
    nodes: dict[str, Json] = {
        "loop": {"kind": "loop", "over": [5]},
        "f": {"kind": "fork"},
        "a": task(input={"cel": "item"}),
        "b": task(input={"cel": "index"}),
        "j": {"kind": "join"},
    }
    edges = [edge("loop", "f", "body"), edge("f", "a"), edge("f", "b"), edge("a", "j"), edge("b", "j")]
    story = Story(graph(nodes, *edges, edge("j", "loop")))
    assert [t.input for t in story.job.tasks.values()] == [5, 0]
    story.done("a", 1)
    story.done("b", 2)
    assert story.job.output == [{"a": 1, "b": 2}]


def test_a_condition_is_asked_before_each_iteration() -> None:
    story = Story(looped(**{"while": "last < 3"}), 1)
    story.done("body", 2)
    assert story.job.tasks[2].input == 2
    story.done("body", 3)
    assert story.job.output == [2, 3]


def test_a_condition_sees_the_index_of_the_iteration_to_come() -> None:
    story = Story(looped(**{"while": "index < 2"}))
    story.done("body", "x")
    story.done("body", "y")
    assert story.job.output == ["x", "y"]


def test_a_body_without_an_edge_back_ends_its_iteration_too() -> None:
    nodes: dict[str, Json] = {"loop": {"kind": "loop", "over": [1, 2]}, "body": task()}
    story = Story(graph(nodes, edge("loop", "body", "body")))
    story.done("body", "x")
    story.done("body", "y")
    assert story.job.output == ["x", "y"]


def test_a_loop_goes_on_behind_its_default_port() -> None:
    nodes: dict[str, Json] = {"loop": {"kind": "loop", "over": [1]}, "body": task(), "after": task()}
    story = Story(graph(nodes, edge("loop", "body", "body"), edge("body", "loop"), edge("loop", "after")))
    story.done("body", "x")
    assert story.job.tasks[2].input == ["x"]


def test_a_break_ends_the_loop_and_what_runs_beside() -> None:
    nodes: dict[str, Json] = {
        "loop": {"kind": "loop", "over": [1, 2, 3, 4], "width": 3},
        "body": task(),
        "r": {"kind": "route", "cases": [{"when": "last.stop", "port": "stop"}]},
    }
    edges = [
        edge("loop", "body", "body"),
        edge("body", "r"),
        edge("r", "loop"),
        edge("r", "loop", "stop", into="break"),
    ]
    story = Story(graph(nodes, *edges))
    story.events()
    story.job.succeed(2, 1, "w", {"stop": True}, story.facts)
    assert story.events() == [
        "TaskSucceeded",
        "NodePassed",
        "IterationEnded",
        "TaskCancelled",
        "TaskCancelled",
        "LoopEnded",
        "JobSucceeded",
    ]
    assert story.job.output == [{"stop": True}]


def test_a_failing_iteration_fails_the_job() -> None:
    story = Story(looped(over=[1, 2], width=2))
    story.fails("body")
    assert story.job.status is Status.FAILED
    assert not story.job.live_tasks


def test_collected_failures_stand_among_the_outputs() -> None:
    story = Story(looped(over=[1, 2], failures="collect"))
    story.fails("body")
    story.done("body", "x")
    assert story.job.output == [{"error": BROKEN.to_json()}, "x"]


def test_a_failing_loop_follows_its_failure_edge() -> None:
    nodes: dict[str, Json] = {"loop": {"kind": "loop", "over": [1]}, "body": task(), "x": task()}
    edges = [edge("loop", "body", "body"), edge("body", "loop"), edge("loop", "x", "failure")]
    story = Story(graph(nodes, *edges))
    story.fails("body")
    assert story.tasks() == {"x": 2}


def test_more_items_than_iterations_fail_the_job() -> None:
    story = Story(looped(over=OVER, max_iterations=2), THREE)
    assert story.job.error is not None
    assert story.job.error["code"] == "loop_bound"
    assert not story.job.tasks


def test_a_condition_that_stays_true_fails_the_job_at_the_bound() -> None:
    story = Story(looped(**{"while": "true"}, max_iterations=2))
    story.done("body", 1)
    story.done("body", 2)
    assert story.job.error is not None
    assert story.job.error["code"] == "loop_bound"


def test_what_is_no_list_fails_the_node() -> None:
    story = Story(looped(over=OVER), {"items": "abc"})
    assert story.job.error == {
        "kind": "invalid_input",
        "message": "node 'loop': over gives no list",
        "code": "expression",
    }


def test_an_expression_that_fails_fails_the_loop() -> None:
    story = Story(looped(over=OVER), {})
    assert story.job.error is not None
    assert story.job.error["code"] == "expression"


def test_a_condition_that_fails_fails_the_loop() -> None:
    story = Story(looped(**{"while": "last < 3"}), 1)
    story.done("body", "no number")
    assert story.job.error is not None
    assert (story.job.status, story.job.error["code"]) == (Status.FAILED, "expression")


def test_an_inner_loop_that_returns_to_the_outer_one_is_given_up() -> None:
    nodes: dict[str, Json] = {
        "outer": {"kind": "loop", "over": [1, 2]},
        "inner": {"kind": "loop", "over": ["a", "b"], "width": 2},
        "body": task(),
    }
    edges = [
        edge("outer", "inner", "body"),
        edge("inner", "body", "body"),
        edge("body", "outer", "done"),
        edge("body", "inner"),
        edge("inner", "outer"),
    ]
    story = Story(graph(nodes, *edges, entry="outer"))
    story.events()
    story.done("body", "enough", port="done")
    assert story.events()[:4] == ["TaskSucceeded", "TaskCancelled", "NodeCancelled", "IterationEnded"]
    assert story.job.outputs["body"] == "enough"
    story.done("body", "enough", port="done")
    assert story.job.output == ["enough", "enough"]
