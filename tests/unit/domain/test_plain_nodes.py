"""Start, end, inline, route, and what expressions see; tasks' ports and inputs."""

import pytest

from shared.domain.graph import Graph
from shared.domain.job import Facts, Job, JobSpec
from shared.domain.values import Json, Status, TaskError
from tests.unit.domain.given import BROKEN, FLAKY, ID, NOON, Story, edge, evaluate, facts, graph, task


def test_a_graph_of_passing_nodes_ends_in_the_decision_that_accepts_it() -> None:
    nodes: dict[str, Json] = {
        "start": {"kind": "start"},
        "set": {"kind": "inline", "set": {"total": {"cel": "input.n"}}},
        "end": {"kind": "end", "output": {"was": {"cel": "context.total"}}},
    }
    story = Story(graph(nodes, edge("start", "set"), edge("set", "end")), {"n": 3})
    assert story.events() == ["JobAccepted", "NodePassed", "ContextUpdated", "NodePassed", "JobSucceeded"]
    assert story.job.output == {"was": 3}
    assert story.job.outputs == {"set": {"total": 3}, "end": {"was": 3}}


def test_an_end_without_output_passes_the_payload_on() -> None:
    story = Story(graph({"a": task(), "end": {"kind": "end"}}, edge("a", "end")))
    story.done("a", 1)
    assert story.job.output == 1


def test_an_end_can_fail_the_job() -> None:
    nodes: dict[str, Json] = {"end": {"kind": "end", "outcome": "failed", "output": "why"}}
    story = Story(graph(nodes))
    assert story.job.status is Status.FAILED
    assert story.job.error == {
        "kind": "permanent",
        "message": "the job ended at 'end'",
        "code": "failed_end",
        "details": "why",
    }


@pytest.mark.parametrize(("n", "to"), [(1, "small"), (5, "middle"), (50, "big")])
def test_a_route_takes_the_first_case_that_is_true(n: int, to: str) -> None:
    nodes: dict[str, Json] = {
        "r": {
            "kind": "route",
            "cases": [{"when": "last.n < 3", "port": "s"}, {"when": "last.n < 10", "port": "m"}],
        },
        "small": task(),
        "middle": task(),
        "big": task(),
    }
    edges = [edge("r", "small", "s"), edge("r", "middle", "m"), edge("r", "big", "exec_out")]
    story = Story(graph(nodes, *edges), {"n": n})
    assert list(story.tasks()) == [to]
    assert story.job.tasks[1].input == {"n": n}


def test_a_route_without_an_edge_for_its_answer_ends_the_path() -> None:
    nodes: dict[str, Json] = {"r": {"kind": "route", "cases": [{"when": "true", "port": "s"}]}}
    assert Story(graph(nodes), 1).job.output == 1


def test_an_expression_that_cannot_be_evaluated_follows_the_failure_edge() -> None:
    nodes: dict[str, Json] = {
        "r": {"kind": "route", "cases": [{"when": "nowhere.n", "port": "s"}]},
        "mend": task(),
    }
    story = Story(graph(nodes, edge("r", "mend", "failure")))
    assert story.job.tasks[1].input == {
        "error": {
            "kind": "invalid_input",
            "message": "'nowhere.n': there is no nowhere",
            "code": "expression",
        }
    }


def test_an_input_that_cannot_be_rendered_fails_the_job() -> None:
    story = Story(graph({"a": task(input={"deep": [{"cel": "nowhere"}]})}))
    assert story.job.error is not None
    assert (story.job.status, story.job.error["code"]) == (Status.FAILED, "expression")


def test_an_input_may_be_a_constant_or_take_from_everywhere() -> None:
    nodes: dict[str, Json] = {
        "a": task(input={"k": [1, {"x": "y"}]}),
        "b": task(input={"first": {"cel": "nodes.a.out"}, "mix": [{"cel": "input"}, {"cel": "last"}]}),
    }
    story = Story(graph(nodes, edge("a", "b")), "in")
    assert story.job.tasks[1].input == {"k": [1, {"x": "y"}]}
    story.done("a", {"out": 5})
    assert story.job.tasks[2].input == {"first": 5, "mix": ["in", {"out": 5}]}


def test_outside_a_loop_there_is_no_item() -> None:
    story = Story(graph({"a": task(input=[{"cel": "item"}, {"cel": "index"}])}))
    assert story.job.tasks[1].input == [None, None]


def test_a_result_takes_the_edge_of_its_port() -> None:
    nodes: dict[str, Json] = {"a": task(), "retry": task(), "next": task()}
    story = Story(graph(nodes, edge("a", "next"), edge("a", "retry", "partial")))
    story.done("a", 1, port="partial")
    assert list(story.tasks()) == ["retry"]


@pytest.mark.parametrize("port", ["success", "default", None, "exec_out"])
def test_success_and_default_are_one_port_of_a_task(port: str | None) -> None:
    story = Story(graph({"a": task(), "b": task()}, edge("a", "b", port)))
    story.done("a", 1)
    assert list(story.tasks()) == ["b"]


def test_a_port_that_the_graph_does_not_know_breaks_the_contract() -> None:
    story = Story(graph({"a": task(), "b": task()}, edge("a", "b")))
    story.done("a", 1, port="surprise")
    assert story.job.error == {
        "kind": "contract_violation",
        "message": "node 'a': the port 'surprise' has no edge",
        "code": "unknown_port",
    }


def test_any_port_of_the_last_task_ends_the_job() -> None:
    story = Story(graph({"a": task(), "b": task()}, edge("a", "b", "failure")))
    story.done("a", 1, port="surprise")
    assert story.job.output == 1


def test_a_failing_task_follows_its_failure_edge_and_the_job_can_succeed() -> None:
    story = Story(graph({"a": task(), "b": task()}, edge("a", "b", "failure")))
    story.events()
    story.fails("a")
    assert story.events() == ["TaskFailed", "TaskReleased"]
    assert story.job.tasks[2].input == {"error": BROKEN.to_json()}
    story.done("b", 1)
    assert story.job.status is Status.SUCCEEDED


def test_an_error_can_name_the_edge_that_it_follows() -> None:
    nodes: dict[str, Json] = {"a": task(), "b": task(), "c": task()}
    story = Story(graph(nodes, edge("a", "b", "failure"), edge("a", "c", "broken")))
    story.fails("a", TaskError("permanent", "x", port="broken"))
    assert list(story.tasks()) == ["c"]
    story = Story(graph(nodes, edge("a", "b", "failure"), edge("a", "c", "broken")))
    story.fails("a", TaskError("permanent", "x", port="other"))
    assert list(story.tasks()) == ["b"]


def test_a_task_that_its_worker_stopped_cancels_the_job_unless_an_edge_is_there() -> None:
    stopped = TaskError("cancelled", "stopped by hand")
    story = Story(graph({"a": task(), "b": task()}, edge("a", "b", "cancelled")))
    story.fails("a", stopped)
    assert list(story.tasks()) == ["b"]
    story = Story(graph({"a": task()}))
    story.events()
    story.fails("a", stopped)
    assert story.events() == ["TaskFailed", "JobCancelled"]
    assert story.last("JobCancelled").by == "worker:w1"


def test_a_node_has_retries_timeouts_and_urgency_of_its_own() -> None:
    own = task(
        retry={"max_attempts": 2, "base": 0}, dispatch_timeout=5, run_timeout=7, urgency=900, claim=True
    )
    story = Story(graph({"a": own}), dispatch_timeout=50, run_timeout=70)
    first = story.job.tasks[1]
    assert (first.dispatch_timeout, first.run_timeout, first.urgency, first.claim) == (5, 7, 900, True)
    story.fails("a", FLAKY)
    assert story.job.tasks[1].attempt == 2
    story.fails("a", FLAKY)
    assert story.job.status is Status.FAILED


def test_kinds_of_error_can_quarantine_at_once() -> None:
    story = Story(
        graph({"a": task(), "b": task()}, edge("a", "b", "failure")), retry={"quarantine": ["permanent"]}
    )
    story.fails("a")
    assert story.job.status is Status.QUARANTINED
    assert story.events()[-2:] == ["TaskFailed", "JobQuarantined"]


def test_used_up_attempts_can_quarantine() -> None:
    story = Story(graph({"a": task()}), retry={"max_attempts": 1, "when_exhausted": "quarantine"})
    story.fails("a", FLAKY)
    assert story.job.status is Status.QUARANTINED
    story = Story(graph({"a": task()}), retry={"max_attempts": 1, "when_exhausted": "quarantine"})
    story.fails("a", BROKEN)
    assert story.job.status is Status.FAILED


def test_a_cycle_of_passing_nodes_is_bounded() -> None:
    nodes: dict[str, Json] = {"a": {"kind": "inline", "set": {}}, "b": {"kind": "inline", "set": {}}}
    story = Story(graph(nodes, edge("a", "b"), edge("b", "a"), entry="a", max_transitions=20))
    assert story.job.error is not None
    assert story.job.error["code"] == "transition_bound"
    assert len(story.events()) == 22


def test_a_cycle_of_tasks_is_bounded_too() -> None:
    story = Story(graph({"a": task()}, edge("a", "a"), entry="a", max_transitions=3))
    for _ in range(3):
        story.done("a")
    assert story.job.status is Status.FAILED


def test_forks_inside_forks_without_end_are_bounded() -> None:
    story = Story(graph({"f": {"kind": "fork"}}, edge("f", "f"), entry="f"))
    assert story.job.error is not None
    assert story.job.error["code"] == "nesting_bound"


def test_a_job_pins_the_definition_that_it_is_given() -> None:
    one = graph({"a": task()})
    job = Job.accept(ID, JobSpec(workflow="w", definition="abc"), facts(NOON, one))
    assert job.spec.definition == "abc"


def test_facts_need_only_what_they_cannot_guess() -> None:
    job = Job.accept(ID, JobSpec(skill="work"), Facts(NOON, Graph.of_skill("work"), evaluate))
    assert job.status is Status.QUEUED


def test_a_job_that_fails_at_an_end_says_the_message_that_the_end_was_given() -> None:
    story = Story(graph({"end": {"kind": "end", "outcome": "failed"}}), {"message": "no such plan", "n": 1})
    assert story.job.error == {
        "kind": "permanent",
        "message": "no such plan",
        "code": "failed_end",
        "details": {"message": "no such plan", "n": 1},
    }


def test_a_job_that_fails_at_an_end_says_why_the_task_before_it_failed() -> None:
    nodes: dict[str, Json] = {"a": task(), "end": {"kind": "end", "outcome": "failed"}}
    story = Story(graph(nodes, edge("a", "end", "failure")))
    story.fails("a", TaskError("permanent", "the key is wrong"))
    assert story.job.error is not None
    assert story.job.error["message"] == "the key is wrong"


@pytest.mark.parametrize("given", [{"message": ""}, {"message": 7}, {"error": "no"}, {"error": {}}, {}, None])
def test_what_is_no_message_is_not_told_as_one(given: Json) -> None:
    story = Story(graph({"end": {"kind": "end", "outcome": "failed"}}), given)
    assert story.job.error is not None
    assert story.job.error["message"] == "the job ended at 'end'"
