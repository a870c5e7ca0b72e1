"""What is recorded of the action that a handler chooses."""

from dataclasses import dataclass
from typing import Any

import pytest

from daybook import ActionFactory, Blueprint
from daybook.errors import BlueprintError
from tests.unit.blueprint.machines import run, run_nothing, video, view


def test_a_task_is_recorded_with_all_that_was_said_of_it() -> None:
    def handler(actions: ActionFactory) -> None:
        actions.dispatch_task(
            "render",
            {"a": 1},
            {"success": "s"},
            skill_version="2.0",
            event_transitions={"alarm": "s"},
            dispatch_strategy="cheapest",
            resource_requirements={"ram_gb": 8},
            timeout_seconds=60,
            dispatch_timeout_seconds=5,
            result_timeout_seconds=90,
            max_cost=0,
            priority=2.5,
            resource_hint="gpu",
            skill_type="video",
        )

    assert run(handler) == {
        "type": "Dispatch",
        "task": {
            "skill": "render",
            "input": {"a": 1, "resource_hint": "gpu"},
            "run_timeout": 60,
            "dispatch_timeout": 5,
            "result_timeout": 90,
            "urgency": 625,
            "placement": {
                "strategy": "cheapest",
                "resources": {"ram_gb": 8},
                "skill_version": "2.0",
                "skill_type": "video",
                "max_cost": 0,
            },
            "event_transitions": {"alarm": "s"},
            "remember": True,
        },
        "transitions": {"success": "s"},
    }


@pytest.mark.parametrize("priority", ["high", True, float("nan")])
def test_a_priority_that_is_no_number_is_said_so(priority: Any) -> None:
    with pytest.raises(BlueprintError, match="'s': dispatch_task: priority must be a number"):
        run(lambda actions: actions.dispatch_task("a", {}, {}, priority=priority))


@pytest.mark.parametrize("tasks", [None, 5, "ab", {"type": "a"}, [5], ["a"]])
def test_parallel_tasks_that_are_no_list_of_tasks_are_said_so(tasks: Any) -> None:
    with pytest.raises(BlueprintError, match="dispatch_parallel"):
        run(lambda actions: actions.dispatch_parallel(tasks, "first"))


@pytest.mark.parametrize(
    ("priority", "urgency"), [(100.0, 1000), (-100.0, 0), (-1.0, 450), (1e308, 1000), (10**400, 1000)]
)
def test_a_priority_is_an_urgency_within_its_bounds(priority: float, urgency: int) -> None:
    task = run(lambda actions: actions.dispatch_task("a", {}, {}, priority=priority))["task"]
    assert task["urgency"] == urgency


def test_parallel_tasks_may_say_type_or_task_type_and_ask_for_no_version() -> None:
    chosen = video().run_handler("decide", view(context={"n": 2}))
    assert chosen["tasks"] == [
        {"skill": "analyse", "input": {"f": 1}},
        {"skill": "analyse", "input": {"f": 2}},
    ]


def test_an_approval_and_a_child_are_recorded_with_their_transitions() -> None:
    assert video().run_handler("review", view()) == {
        "type": "AwaitApproval",
        "transitions": {"approved": "publish", "rejected": "failed"},
        "name": "telegram",
        "message": "Is it good?",
    }
    child = run(lambda actions: actions.run_blueprint("c", {}, {"success": "s"}, 5, result_timeout=9))
    assert child == {
        "type": "RunWorkflow",
        "workflow": "c",
        "transitions": {"success": "s"},
        "input": {},
        "dispatch_timeout": 5,
        "result_timeout": 9,
    }


# -- events


def tell(payload: Any) -> Any:
    def handler(actions: ActionFactory) -> None:
        actions.send_event("shipped", payload)
        actions.go_to("s")

    return handler


def test_an_event_goes_with_the_action() -> None:
    assert run(tell({"n": 1})) == {
        "type": "GoTo",
        "node": "s",
        "payload": None,
        "events": [{"name": "shipped", "payload": {"n": 1}}],
    }


@dataclass
class Shipped:
    n: int


@pytest.mark.parametrize("schema", [Shipped, {"type": "object", "properties": {"n": {"type": "integer"}}}])
def test_an_event_that_does_not_match_its_schema_is_told(schema: Any) -> None:
    bp = Blueprint("b")
    bp.event("shipped", schema)
    bp.handler("s", is_start=True)(tell({"n": "one"}))
    with pytest.raises(
        BlueprintError, match=r"state 's': .*'shipped' does not match its schema: n: .*integer"
    ):
        bp.run_handler("s", {})


def test_a_schema_may_be_said_as_a_decorator_or_not_at_all() -> None:
    bp = Blueprint("b")
    assert bp.event("free")(run_nothing) is run_nothing
    assert bp.events_schema == {"free": {}}


# -- what cannot be


def two_actions(actions: ActionFactory) -> None:
    actions.go_to("s")
    actions.run_blueprint("b", {}, {})


def test_one_action_a_handler() -> None:
    with pytest.raises(
        BlueprintError, match="state 's': a handler chooses one action, and this one chose GoTo"
    ):
        run(two_actions)
    with pytest.raises(BlueprintError, match="state 's': its handler chose no action"):
        run(run_nothing)
