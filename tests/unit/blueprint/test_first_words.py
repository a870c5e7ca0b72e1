"""Blueprints in the words of the original's first releases, and imports by its module names."""

from typing import Any

import pytest

from daybook import StateMachineBlueprint
from daybook.blueprint import Blueprint, F
from daybook.blueprint.condition_texts import condition_of
from daybook.context import ActionFactory, ClientConfig, JobContext
from daybook.errors import BlueprintError


def orders() -> StateMachineBlueprint:
    bp = StateMachineBlueprint("orders", api_endpoint="/jobs/orders", api_version="v1")

    @bp.handler_for("start", is_start=True)
    async def begin(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        actions.transition_to("decide")

    @bp.handler_for("decide").when("context.initial_data.kind == 'urgent'")
    async def urgent(context: JobContext) -> None:
        context.actions.transition_to("finished")

    @bp.handler_for("decide")
    async def calm(actions: ActionFactory) -> None:
        actions.dispatch_parallel([{"type": "look", "params": {}}], aggregate_into="merge")

    @bp.aggregator_for("merge")
    async def merged(actions: ActionFactory) -> None:
        actions.transition_to("finished")

    @bp.handler_for("finished", is_end=True)
    async def ended(context: JobContext, actions: ActionFactory) -> ActionFactory:
        return actions

    return bp


def test_the_first_words_make_the_same_graph() -> None:
    edges = {(edge["from"], edge["to"]) for edge in orders().graph()["edges"]}
    assert edges == {
        ("start", "decide"),
        ("decide", "finished"),
        ("decide", "merge"),
        ("merge", "finished"),
        ("finished", "finished:end"),
    }


@pytest.mark.parametrize(("kind", "chosen"), [("urgent", "GoTo"), ("calm", "Parallel")])
def test_a_condition_that_is_a_text_chooses_the_handler(kind: str, chosen: str) -> None:
    assert orders().run_handler("decide", {"input": {"kind": kind}})["type"] == chosen


def test_an_end_whose_handler_returns_its_actions_returns_nothing() -> None:
    assert orders().run_handler("finished", {})["payload"] is None


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("context.initial_data.n >= 3", True),
        ("context.initial_data.n<3", False),
        ("context.initial_data.n > 2.5", True),
        ("context.initial_data.n != 3", False),
        ("context.initial_data.n <= '3'", False),
        ("context.initial_data.kind == 'it''s'", False),
        ('context.initial_data.kind == "a b"', True),
        ("context.initial_data.kind == a b", True),
        ("context.initial_data.vip == True", True),
        ("context.state_history.deep.er == 1", True),
        ("context.state_history.gone != 1", False),
        ("context.job_id == 'j1'", True),
        ("context.initial_data.kind == __import__('os')", False),
    ],
)
def test_a_text_says_what_its_words_say(text: str, holds: bool) -> None:
    bp = Blueprint("b")
    bp.handler(is_start=True).when(text)(start)
    view = {
        "job_id": "j1",
        "input": {"n": 3, "kind": "a b", "vip": True},
        "context": {"deep": {"er": 1}},
    }
    if holds:
        assert bp.run_handler("start", view)["type"] == "GoTo"
    else:
        with pytest.raises(BlueprintError, match="none of its conditions is true"):
            bp.run_handler("start", view)


@pytest.mark.parametrize(
    "text", ["", "n == 1", "context == 1", "context.n", "context.n ==", "context.n is 1"]
)
def test_a_text_that_says_no_condition_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no condition"):
        condition_of(text)


def test_two_conditions_must_both_hold() -> None:
    bp = Blueprint("b")
    bp.handler(F.initial_data["a"] == 1, is_start=True).when("context.initial_data.b == 2")(start)
    assert bp.run_handler("start", {"input": {"a": 1, "b": 2}})["type"] == "GoTo"
    for wrong in ({"a": 1}, {"b": 2}):
        with pytest.raises(BlueprintError, match="none of its conditions is true"):
            bp.run_handler("start", {"input": wrong})


def start(actions: ActionFactory) -> None:
    actions.go_to("finished")


def test_a_client_is_told_whole_as_its_config() -> None:
    client = ClientConfig("", "gold", {"languages": ["en"]})
    assert client.config == {"plan": "gold", "languages": ["en"]}


def test_the_message_for_a_failure_goes_with_the_transition() -> None:
    bp = Blueprint("b")
    bp.handler("start", is_start=True)(lambda actions: actions.go_to("failed", error_message="no such plan"))
    bp.handler("failed", is_end=True)(lambda: None)
    assert bp.run_handler("start", {})["payload"] == {"message": "no such plan"}
