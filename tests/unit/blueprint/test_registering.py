"""What a blueprint may be: what cannot is refused, by name, before any job meets it."""

from typing import Any

import pytest

from daybook import ActionFactory, Blueprint, F
from daybook.errors import BlueprintError
from shared.application.endpoint_names import endpoint_problem
from tests.unit.blueprint.machines import run_nothing


def test_a_state_that_only_an_event_leads_to_is_reached() -> None:
    def start(actions: ActionFactory) -> None:
        actions.dispatch_task("a", {}, {"success": "end"}, event_transitions={"alarm": "alarmed"})

    def alarmed(actions: ActionFactory) -> None:
        actions.go_to("end")

    bp = Blueprint("b")
    bp.handler(is_start=True)(start)
    bp.handler("alarmed")(alarmed)
    bp.handler("end", is_end=True)(run_nothing)
    bp.validate()
    bp.handler("island", is_end=True)(run_nothing)
    with pytest.raises(BlueprintError, match="state 'island': no state leads to it"):
        bp.validate()


def test_a_state_has_one_handler_without_a_condition_and_one_aggregator() -> None:
    bp = Blueprint("b")
    bp.handler("s", F.x == 1)(run_nothing)
    bp.handler("s", F.x == 2)(run_nothing)
    bp.handler("s")(run_nothing)
    with pytest.raises(BlueprintError, match="state 's': there are two handlers"):
        bp.handler("s")(run_nothing)
    bp.aggregator("s")(run_nothing)
    with pytest.raises(BlueprintError, match="state 's': there are two aggregators"):
        bp.aggregator("s")(run_nothing)
    with pytest.raises(TypeError, match="a name and a condition, and not 5"):
        bp.handler("s", 5)  # type: ignore[call-overload]


def test_an_error_state_must_be_a_state() -> None:
    bp = Blueprint("b")
    bp.state("s", start=True, on_error="nowhere")(run_nothing)
    with pytest.raises(BlueprintError, match="state 's': it leads to 'nowhere'"):
        bp.validate()


@pytest.mark.parametrize(
    ("version", "endpoint"),
    [
        ("v1", "jobs/simple"),
        ("v2.1", "a/b-c"),
        (None, "orders"),
        ("v1", None),
        (None, "jobs/x"),
        ("v1", "orders/cancel"),
    ],
)
def test_an_endpoint_of_ones_own_is_fine(version: str | None, endpoint: str | None) -> None:
    assert endpoint_problem(version, endpoint) is None


@pytest.mark.parametrize(
    ("version", "endpoint", "text"),
    [
        ("v1", "workflows", "/api/v1/workflows is, or may become, a route of the API"),
        ("v1", "workers/mine", "a route of the API"),
        (None, "workflow/x", "a route of the API"),
        ("v1", "jobs", "a route of the API"),
        ("v1", "jobs/claim", "a route of the API"),
        ("v1", "jobs/bulk", "a route of the API"),
        ("v1", "jobs/a/b", "a route of the API"),
        ("v1", "jobs/x/cancel", "a route of the API"),
        (None, "v1/jobs/x", "begins like a version"),
        ("one", "jobs/x", "is not v and a number"),
        ("v1", "jobs/a b", "is not a path"),
        ("v1", "jobs/../x", "is not a path"),
        ("v1", "jobs//x", "is not a path"),
    ],
)
def test_an_endpoint_that_is_somebody_elses_is_refused_with_the_blueprint(
    version: str | None, endpoint: str, text: str
) -> None:
    bp = Blueprint("b", api_version=version, api_endpoint=endpoint)
    bp.handler("s", is_start=True)(run_nothing)
    with pytest.raises(BlueprintError, match=f"blueprint 'b': .*{text}"):
        bp.validate()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"input_schema": {"type": "nonsense"}}, "its input_schema cannot be used: .*nonsense"),
        ({"output_schema": {"properties": {"x": {"pattern": "(("}}}}, "its output_schema cannot be used"),
        ({"input_schema": {"$ref": "http://127.0.0.1:1/x"}}, "its input_schema cannot be used: .*disabled"),
        ({"input_schema": {"enum": {1}}}, "its input_schema cannot be used: .*serializable"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_when_the_blueprint_is_registered(
    options: dict[str, Any], why: str
) -> None:
    bp = Blueprint("b", **options)
    bp.handler("only", is_start=True, is_end=True)(run_nothing)
    with pytest.raises(BlueprintError, match=why):
        bp.validate()


def test_the_schema_of_an_event_is_looked_at_too() -> None:
    bp = Blueprint("b")
    bp.event("e", {"type": 5})
    bp.handler("only", is_start=True, is_end=True)(run_nothing)
    with pytest.raises(BlueprintError, match="its schema of the event 'e' cannot be used"):
        bp.validate()


def test_an_empty_handler_is_refused_when_the_blueprint_is_registered_unless_the_job_ends_there() -> None:
    bp = Blueprint("b")

    @bp.handler(is_start=True)
    async def start(actions: ActionFactory) -> None:
        actions.go_to("hollow")

    @bp.handler
    async def hollow(actions: ActionFactory) -> None:
        """Somebody forgot it."""

    with pytest.raises(BlueprintError, match="blueprint 'b', state 'hollow': its handler is empty"):
        bp.validate()
    bp.states["hollow"].outcome = "succeeded"
    bp.validate()
