"""Blueprints: the graph that states make, and the one action that a handler chooses."""

from collections.abc import Callable
from typing import Any

import pytest

from daybook import Blueprint
from daybook.blueprint import Actions
from daybook.errors import BlueprintError
from shared.domain.graph import Graph, validate


def order() -> Blueprint:
    bp = Blueprint("order")

    @bp.state(start=True)
    def check(input: Any, actions: Actions) -> None:  # noqa: A002
        actions.update_context(item=input["item"])
        actions.dispatch_task("stock", {"item": input["item"]}, {"success": "approve", "failure": "failed"})

    @bp.state
    def approve(actions: Actions, last: Any, limit: int = 100) -> None:
        if last["price"] > limit:
            actions.await_human_approval({"yes": "ship", "no": "failed"}, message="dear", timeout=60)
        else:
            actions.go_to("ship")

    @bp.handler("ship")
    async def anything(actions: Actions, context: Any) -> None:
        actions.dispatch_parallel([("label", context), {"skill": "mail", "name": "m"}], aggregate_into="done")

    @bp.aggregator("done")
    def merge(actions: Actions, last: Any) -> None:
        actions.run_blueprint("bill", {"parts": last}, "finished")

    @bp.handler(is_end=True)
    def finished(last: Any) -> Any:
        return {"bill": last}

    @bp.state(end=True)
    def failed() -> None:
        """Nothing to do."""

    return bp


def test_the_graph_of_a_blueprint_is_one_that_the_domain_accepts() -> None:
    graph = order().graph()
    assert validate(graph) == []
    parsed = Graph.parse(graph)
    assert parsed.entry == "check"
    assert {name: node.kind for name, node in parsed.nodes.items()} == {
        "check": "state",
        "approve": "state",
        "ship": "state",
        "done": "state",
        "finished": "state",
        "finished:end": "end",
        "failed": "state",
        "failed:end": "end",
    }


def test_the_edges_show_where_a_handler_may_lead() -> None:
    edges = {(edge["from"], edge["to"]) for edge in order().graph()["edges"]}
    assert edges == {
        ("check", "approve"),
        ("check", "failed"),
        ("approve", "ship"),
        ("approve", "failed"),
        ("ship", "done"),
        ("done", "finished"),
        ("finished", "finished:end"),
        ("failed", "failed:end"),
    }


def test_a_dispatch_is_recorded_with_the_context_that_was_kept() -> None:
    assert order().run_handler("check", {"input": {"item": "tea"}}) == {
        "type": "Dispatch",
        "task": {"skill": "stock", "input": {"item": "tea"}, "remember": True},
        "transitions": {"success": "approve", "failure": "failed"},
        "context": {"item": "tea", "@updated": ["item"]},
    }


@pytest.mark.parametrize(
    ("price", "extra", "chosen"),
    [(50, {}, "GoTo"), (500, {}, "AwaitApproval"), (500, {"input": {"limit": 1000}}, "GoTo")],
)
def test_arguments_come_by_name_from_the_view_the_context_and_the_input(
    price: int, extra: dict[str, Any], chosen: str
) -> None:
    view = {"last": {"price": price}, "context": {}, "input": {}, **extra}
    assert order().run_handler("approve", view)["type"] == chosen


def test_a_coroutine_may_be_a_handler() -> None:
    assert order().run_handler("ship", {"context": {"item": "tea"}}) == {
        "type": "Parallel",
        "tasks": [{"skill": "label", "input": {"item": "tea"}}, {"skill": "mail", "name": "m"}],
        "aggregate_into": "done",
        "failures": "collect",
    }


def test_a_single_name_is_where_success_leads() -> None:
    assert order().run_handler("done", {"last": [1]}) == {
        "type": "RunWorkflow",
        "workflow": "bill",
        "input": {"parts": [1]},
        "transitions": {"success": "finished"},
    }


def test_an_end_state_ends_the_job_with_what_its_handler_returns() -> None:
    bp = order()
    assert bp.run_handler("finished", {"last": 3}) == {
        "type": "GoTo",
        "node": "finished:end",
        "payload": {"bill": 3},
    }
    assert bp.graph()["nodes"]["finished:end"]["outcome"] == "succeeded"
    assert bp.graph()["nodes"]["failed:end"]["outcome"] == "failed"


def test_an_error_state_follows_a_handler_that_raises_for_good() -> None:
    bp = Blueprint("b")

    @bp.state(start=True, on_error="sorry")
    def begin(actions: Actions) -> None:
        actions.go_to("sorry")

    @bp.state(end=True)
    def sorry() -> None:
        """Nothing to do."""

    assert {"from": "begin", "port": "failure", "to": "sorry"} in bp.graph()["edges"]


def only(handler: Callable[..., Any], **options: Any) -> Blueprint:
    bp = Blueprint("b")
    bp.state("s", start=True, **options)(handler)
    return bp


def twice(actions: Actions) -> None:
    actions.go_to("s")
    actions.dispatch_task("x")


def nothing(actions: Actions) -> None:
    """Chooses nothing."""


def needy(actions: Actions, recipient: str) -> None:
    actions.go_to("s")


def no_tasks(actions: Actions) -> None:
    actions.dispatch_parallel([], "s")


def no_decisions(actions: Actions) -> None:
    actions.await_human_approval({})


def odd_task(actions: Actions) -> None:
    actions.dispatch_parallel([{"skil": "x"}], "s")


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (twice, "chose GoTo already"),
        (nothing, "chose no action"),
        (needy, "no value for its argument 'recipient'"),
        (no_tasks, "at least one task"),
        (no_decisions, "one for each decision"),
        (odd_task, "is not a task with a skill"),
    ],
)
def test_a_handler_that_chooses_wrongly_is_told_with_its_state(
    handler: Callable[..., Any], text: str
) -> None:
    with pytest.raises(BlueprintError, match=f"blueprint 'b', state 's': .*{text}"):
        only(handler).run_handler("s", {"input": {}, "context": {}})


def test_a_state_that_is_gone_is_named() -> None:
    with pytest.raises(BlueprintError, match="blueprint 'b', state 'old': there is no such state"):
        only(nothing).run_handler("old", {})


def to_nowhere(actions: Actions) -> None:
    actions.go_to("nowhere")


def to_a_computed_state(actions: Actions, name: str = "t") -> None:
    actions.go_to(name)


def test_a_misspelt_state_is_found_without_running_anything() -> None:
    with pytest.raises(BlueprintError, match="state 's': it leads to 'nowhere', which is no state"):
        only(to_nowhere).graph()


def test_a_state_that_nothing_leads_to_is_found() -> None:
    bp = only(twice)
    bp.state("t", end=True)(nothing)
    with pytest.raises(BlueprintError, match="state 't': no state leads to it"):
        bp.graph()


def test_a_computed_state_may_lead_anywhere() -> None:
    bp = only(to_a_computed_state)
    bp.state("t", end=True)(nothing)
    assert validate(bp.graph()) == []


def test_exactly_one_state_is_the_start() -> None:
    bp = Blueprint("b")
    bp.state("s")(nothing)
    with pytest.raises(BlueprintError, match="not 0"):
        bp.graph()
    bp.state("t", start=True)(nothing)
    bp.state("u", start=True)(nothing)
    with pytest.raises(BlueprintError, match=r"not 2 \(t, u\)"):
        bp.graph()


def test_two_handlers_of_one_state_are_refused() -> None:
    bp = only(nothing)
    with pytest.raises(BlueprintError, match="two handlers"):
        bp.state("s")(twice)
