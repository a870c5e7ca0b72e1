"""Blueprints in the words of state machines: conditions, aggregators, end states, the picture of it all."""

import pytest

from daybook import Blueprint, F
from daybook.errors import BlueprintError
from shared.domain.graph import validate
from tests.unit.blueprint.machines import Action, run_nothing, video, view


def test_a_state_machine_is_a_graph_that_the_domain_accepts() -> None:
    assert validate(video().graph()) == []
    meta = video().meta()
    assert (meta["api_version"], meta["api_endpoint"]) == ("v1", "jobs/video")
    assert (meta["start_state"], meta["end_states"]) == ("start", ["publish", "failed"])
    assert list(meta["events_schema"]) == ["shipped"]


def test_the_picture_shows_the_states_and_where_they_lead() -> None:
    edges = [
        "start -> decide",
        "start -> failed",
        "decide -> publish",
        "decide -> failed",
        "decide -> review",
        "decide -> alarmed",
        "decide -> collect",
        "collect -> publish",
        "review -> publish",
        "review -> failed",
        "alarmed -> publish",
        "alarmed -> failed",
    ]
    states = ("start", "decide", "collect", "review", "alarmed", "publish", "failed")
    lines = ["node [shape=box style=rounded]", *edges, *(f"{name} [label={name}]" for name in states)]
    body = "".join(f"\t{line}\n" for line in lines)
    assert video().dot() == f"// State Machine for video\ndigraph {{\n{body}}}\n"


def test_names_that_are_no_plain_words_are_quoted_in_the_picture() -> None:
    bp = Blueprint("b")
    bp.handler('say "hi"', is_start=True)(lambda actions: actions.go_to("node"))
    bp.handler("node", is_end=True)(lambda: None)
    assert '\t"say \\"hi\\"" -> "node"\n' in bp.dot()


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ({"input": {"kind": "urgent"}, "context": {"n": 5}}, "GoTo"),
        ({"context": {"n": 2}}, "Parallel"),
        ({"context": {"n": 1}}, "Dispatch"),
        ({}, "Dispatch"),
        ({"input": None}, "Dispatch"),
    ],
)
def test_the_first_condition_that_is_true_has_the_say(given: Action, chosen: str) -> None:
    assert video().run_handler("decide", view(**given))["type"] == chosen


def test_conditions_that_all_fail_are_told_with_their_state() -> None:
    bp = Blueprint("b")
    bp.handler(F.x == 1, is_start=True)(run_nothing)
    with pytest.raises(BlueprintError, match="state 'run_nothing': none of its conditions is true"):
        bp.run_handler("run_nothing", {})


def test_an_end_state_ends_with_what_the_history_has_of_it() -> None:
    bp = video()
    assert bp.run_handler("publish", view(context={"publish": [1]}))["payload"] == [1]
    assert bp.run_handler("publish", view()) == {"type": "GoTo", "node": "publish:end", "payload": None}


def test_any_end_state_ends_well_unless_it_is_called_failed() -> None:
    nodes = video().graph()["nodes"]
    assert (nodes["publish:end"]["outcome"], nodes["failed:end"]["outcome"]) == ("succeeded", "failed")


def test_an_aggregator_has_the_say_over_a_handler_when_the_job_comes_from_parallel_tasks() -> None:
    bp = Blueprint("b")
    bp.handler("s", is_start=True)(lambda actions: actions.go_to("s"))
    bp.aggregator("s")(lambda actions: actions.dispatch_task("a"))
    assert bp.run_handler("s", {"aggregated": True})["type"] == "Dispatch"
    assert bp.run_handler("s", {})["type"] == "GoTo"
