"""Scopes: body, catch and finally; what is caught, what is given up, what is thrown again."""

from shared.domain.graph import Graph
from shared.domain.values import Json, Status, TaskError
from tests.unit.domain.given import BROKEN, Story, edge, graph, task

ERROR: Json = {"error": BROKEN.to_json()}


def scoped(*ports: str, after: bool = True) -> Graph:
    nodes: dict[str, Json] = {"scope": {"kind": "scope"}, "body": task()}
    edges = [edge("scope", "body", "body"), edge("body", "scope")]
    for port in ports:
        nodes[port] = task()
        edges += [edge("scope", port, port)] + ([] if port == "failure" else [edge(port, "scope")])
    if after:
        nodes["after"] = task()
        edges.append(edge("scope", "after"))
    return graph(nodes, *edges)


def test_a_body_that_succeeds_passes_its_output_on() -> None:
    story = Story(scoped("catch"), input=1)
    assert story.events() == ["JobAccepted", "ScopeEntered", "TaskReleased"]
    story.done("body", 2)
    assert story.events() == ["TaskSucceeded", "ScopeLeft", "TaskReleased"]
    assert story.tasks() == {"after": 2}
    assert story.job.tasks[2].input == 2


def test_a_body_that_fails_is_caught() -> None:
    story = Story(scoped("catch"), input=1)
    story.events()
    story.fails("body")
    assert story.events() == ["TaskFailed", "ErrorCaught", "TaskReleased"]
    assert story.job.tasks[2].input == {"error": BROKEN.to_json(), "input": 1}
    story.done("catch", "saved")
    assert story.events() == ["TaskSucceeded", "ScopeLeft", "TaskReleased"]
    assert story.job.tasks[3].input == "saved"


def test_a_body_that_ends_without_an_edge_back_ends_the_scope_too() -> None:
    nodes: dict[str, Json] = {"scope": {"kind": "scope"}, "body": task()}
    story = Story(graph(nodes, edge("scope", "body", "body")))
    story.done("body", 2)
    assert story.job.output == 2


def test_finally_runs_behind_a_success_and_the_output_stays() -> None:
    story = Story(scoped("finally"))
    story.done("body", 2)
    assert story.tasks() == {"finally": 2}
    story.events()
    story.done("finally", "ignored")
    assert story.events() == ["TaskSucceeded", "ScopeLeft", "TaskReleased"]
    assert story.job.tasks[3].input == 2


def test_finally_runs_behind_a_failure_and_the_error_is_thrown_again() -> None:
    story = Story(scoped("finally"))
    story.fails("body")
    assert story.tasks() == {"finally": 2}
    assert story.job.tasks[2].input == ERROR
    story.done("finally")
    assert (story.job.status, story.job.error) == (Status.FAILED, BROKEN.to_json())


def test_an_error_thrown_again_takes_the_failure_edge_of_the_scope() -> None:
    story = Story(scoped("finally", "failure"))
    story.fails("body")
    story.done("finally")
    assert story.tasks() == {"failure": 3}
    assert story.job.tasks[3].input == ERROR


def test_a_catch_that_fails_goes_through_finally() -> None:
    story = Story(scoped("catch", "finally"))
    story.fails("body")
    story.fails("catch", TaskError("permanent", "worse"))
    assert story.tasks() == {"finally": 3}
    story.done("finally")
    assert story.job.error == {"kind": "permanent", "message": "worse"}


def test_a_catch_that_succeeds_goes_through_finally() -> None:
    story = Story(scoped("catch", "finally"))
    story.fails("body")
    story.done("catch", "saved")
    story.done("finally")
    assert story.job.tasks[4].input == "saved"


def test_a_finally_that_fails_fails_the_scope() -> None:
    story = Story(scoped("catch", "finally"))
    story.done("body")
    story.fails("finally", TaskError("permanent", "at last"))
    assert story.job.error == {"kind": "permanent", "message": "at last"}


def test_a_catch_that_fails_without_finally_fails_the_job() -> None:
    story = Story(scoped("catch"))
    story.fails("body")
    story.fails("catch")
    assert story.job.status is Status.FAILED


def test_a_scope_without_catch_takes_its_failure_edge() -> None:
    story = Story(scoped("failure"))
    story.events()
    story.fails("body")
    assert story.events() == ["TaskFailed", "NodeCancelled", "TaskReleased"]
    assert story.tasks() == {"failure": 2}


def test_a_task_with_a_failure_edge_of_its_own_is_not_caught() -> None:
    nodes: dict[str, Json] = {"scope": {"kind": "scope"}, "body": task(), "mend": task(), "catch": task()}
    edges = [
        edge("scope", "body", "body"),
        edge("body", "mend", "failure"),
        edge("mend", "scope"),
        edge("scope", "catch", "catch"),
    ]
    story = Story(graph(nodes, *edges))
    story.fails("body")
    assert story.tasks() == {"mend": 2}


def test_the_branches_inside_a_failed_body_are_given_up() -> None:
    nodes: dict[str, Json] = {
        "scope": {"kind": "scope"},
        "f": {"kind": "fork"},
        "a": task(),
        "b": task(),
        "t": {"kind": "wait", "for": "signal"},
        "j": {"kind": "join"},
        "catch": task(),
    }
    edges = [
        edge("scope", "f", "body"),
        *[edge("f", name) for name in "abt"],
        *[edge(name, "j") for name in "abt"],
        edge("j", "scope"),
        edge("scope", "catch", "catch"),
        edge("catch", "scope"),
    ]
    story = Story(graph(nodes, *edges))
    story.events()
    story.fails("a")
    assert story.events() == [
        "TaskFailed",
        "TaskCancelled",
        "NodeCancelled",
        "NodeCancelled",
        "ErrorCaught",
        "TaskReleased",
    ]
    story.done("catch", "ok")
    assert story.job.output == "ok"


def test_an_inner_scope_throws_to_the_outer_one() -> None:
    nodes: dict[str, Json] = {
        "outer": {"kind": "scope"},
        "inner": {"kind": "scope"},
        "body": task(),
        "catch": task(),
    }
    edges = [
        edge("outer", "inner", "body"),
        edge("inner", "body", "body"),
        edge("body", "inner"),
        edge("inner", "outer"),
        edge("outer", "catch", "catch"),
        edge("catch", "outer"),
    ]
    story = Story(graph(nodes, *edges, entry="outer"))
    story.fails("body")
    assert story.tasks() == {"catch": 2}
    assert list(story.waits()) == ["outer"]


def test_branches_that_begin_in_a_decision_that_fails_them_do_not_begin() -> None:
    nodes: dict[str, Json] = {
        "scope": {"kind": "scope"},
        "f": {"kind": "fork"},
        "bad": {"kind": "route", "cases": [{"when": "nowhere", "port": "x"}]},
        "b": task(),
        "catch": task(),
    }
    edges = [edge("scope", "f", "body"), edge("f", "bad"), edge("f", "b"), edge("scope", "catch", "catch")]
    story = Story(graph(nodes, *edges))
    assert list(story.tasks()) == ["catch"]
    assert story.events() == [
        "JobAccepted",
        "ScopeEntered",
        "BranchesForked",
        "NodeCancelled",
        "ErrorCaught",
        "TaskReleased",
    ]
