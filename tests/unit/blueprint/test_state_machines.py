"""Blueprints in the words of state machines: arguments by name, conditions, aggregators, events, stores."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from daybook import ActionFactory, Blueprint, F, JobContext
from daybook.blueprint.endpoints import endpoint_problem
from daybook.errors import BlueprintError
from shared.domain.graph import validate

Action = dict[str, Any]


def run(handler: Any, view: Action | None = None, **options: Any) -> Action:
    """What a handler chooses in the one state of a blueprint."""
    bp = Blueprint("b", **options)
    bp.handler("s", is_start=True)(handler)
    return bp.run_handler("s", view or {})


def video() -> Blueprint:
    bp = Blueprint("video", api_version="v1", api_endpoint="/jobs/video", data_stores={"cache": {"user": 7}})

    @bp.handler(is_start=True)
    async def start(job_id: str, initial_data: Action, actions: ActionFactory) -> None:
        assert job_id == "j1"
        actions.go_to("decide" if initial_data else "failed")

    @bp.handler("decide", F.initial_data["kind"] == "urgent")
    async def urgent(actions: ActionFactory) -> None:
        actions.go_to("publish")

    @bp.handler("decide", F.state_history["n"] > 1)
    async def second(actions: ActionFactory) -> None:
        actions.dispatch_parallel(
            tasks=[{"type": "analyse", "params": {"f": 1}}, {"task_type": "analyse", "params": {"f": 2}}],
            aggregate_into="collect",
        )

    @bp.handler
    async def decide(actions: ActionFactory) -> None:
        actions.dispatch_task(
            task_type="transcode",
            params={"path": "/a"},
            transitions={"success": "publish", "failure": "failed", "needs_review": "review"},
            event_transitions={"alarm": "alarmed"},
        )

    @bp.aggregator
    async def collect(aggregation_results: Action, state_history: Action, actions: ActionFactory) -> None:
        state_history["summary"] = [result.get("data") for result in aggregation_results.values()]
        actions.go_to("publish")

    @bp.handler
    async def review(actions: ActionFactory) -> None:
        actions.await_human_approval("telegram", "Is it good?", {"approved": "publish", "rejected": "failed"})

    @bp.handler
    def alarmed(actions: ActionFactory) -> None:
        actions.run_blueprint("cool_down", {"fast": True}, {"success": "publish", "failure": "failed"})

    @bp.handler(is_end=True)
    async def publish(context: JobContext) -> None:
        assert context.job_id == "j1"

    @bp.handler(is_end=True)
    async def failed() -> None:
        """The job fails here."""

    bp.event("shipped", {"type": "object", "required": ["n"]})
    return bp


def view(**more: Any) -> Action:
    return {"job_id": "j1", "input": {"kind": "calm"}, "context": {}, "last": None, **more}


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


def run_nothing(actions: ActionFactory) -> None:
    """Chooses nothing."""


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


def test_what_a_handler_puts_into_the_history_is_kept() -> None:
    given = view(aggregation_results={"t1": {"data": 1}, "t2": {"error": {}}}, aggregated=True)
    assert video().run_handler("collect", given)["context"] == {"summary": [1, None]}


def test_changes_of_the_history_are_seen_at_any_depth_and_so_are_removals() -> None:
    def handler(state_history: Action, actions: ActionFactory) -> None:
        state_history["list"].append(2)
        del state_history["old"]
        actions.go_to("s")

    context = {"list": [1], "same": {"a": 1}, "old": 5}
    assert run(handler, {"context": context})["context"] == {"list": [1, 2], "old": None}


def test_what_is_updated_is_found_in_the_initial_data_afterwards() -> None:
    first = run(lambda actions: (actions.update_context({"kind": "new", "more": 1}), actions.go_to("s")))
    seen: list[Any] = []

    def later(initial_data: Action, kind: str, actions: ActionFactory) -> None:
        seen.extend([initial_data, kind])
        actions.go_to("s")

    run(later, {"input": {"kind": "old", "path": "/a"}, "context": {**first["context"], "path": "/b"}})
    assert seen == [{"kind": "new", "path": "/a", "more": 1}, "new"]


def test_the_history_comes_before_the_initial_data() -> None:
    def handler(path: str, size: int, other: int = 3) -> Any:
        return [path, size, other]

    bp = Blueprint("b")
    bp.handler("s", is_start=True, is_end=True)(handler)
    chosen = bp.run_handler("s", {"context": {"path": "/new"}, "input": {"path": "/old", "size": 1}})
    assert chosen["payload"] == ["/new", 1, 3]


def test_every_argument_that_is_promised_is_there() -> None:
    seen: dict[str, Any] = {}

    def handler(
        job_id: str,
        initial_data: Any,
        state_history: Any,
        current_state: str,
        actions: Any,
        client: Any,
        data_stores: Any,
        task_files: Any,
        aggregation_results: Any,
        tracing_context: Any,
        webhook_url: Any,
        policy: Any,
        context: Any,
    ) -> None:
        seen.update(locals())
        actions.go_to("s")

    run(
        handler,
        view(
            client={"plan": "gold", "params": {"langs": ["en"]}},
            tracing_context={"traceparent": "00-1"},
            webhook_url="https://example.org",
            policy={"allowed_skills": ["a"]},
        ),
        data_stores={"cache": {"user": 7}, "own": "whatever it is"},
    )
    context = seen["context"]
    assert context.actions is seen["actions"]
    assert (context.client.plan, context.client.params, context.client.token) == (
        "gold",
        {"langs": ["en"]},
        "",
    )
    assert isinstance(seen["data_stores"], SimpleNamespace)
    assert context.data_stores.own == "whatever it is"
    assert (context.current_state, context.tracing_context) == ("s", {"traceparent": "00-1"})
    assert (seen["webhook_url"], seen["policy"]) == ("https://example.org", {"allowed_skills": ["a"]})
    assert seen["task_files"] is None


async def ask_store(data_stores: Any, actions: ActionFactory) -> None:
    user = await data_stores.cache.get("user")
    await data_stores.cache.set("user", user + 1)
    actions.update_context(user=user)
    actions.go_to("s")


def test_a_dictionary_is_a_store_that_lasts_as_long_as_the_process() -> None:
    bp = Blueprint("b", data_stores={"cache": {"user": 7}})
    bp.handler("s", is_start=True)(ask_store)
    assert [bp.run_handler("s", {})["context"]["user"] for _ in range(2)] == [7, 8]
    with pytest.raises(ValueError, match="has a data store 'cache' already"):
        bp.add_data_store("cache", {})


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


def test_what_goes_in_and_comes_out_is_held_against_the_schemas() -> None:
    schema = {"type": "object", "required": ["n"]}
    bp = Blueprint("b", input_schema=schema, output_schema=schema)
    bp.handler("s", is_start=True, is_end=True)(lambda context: context.initial_data.get("out"))
    with pytest.raises(BlueprintError, match='its input does not match the input schema: "n" is a required'):
        bp.run_handler("s", {"input": {}})
    with pytest.raises(BlueprintError, match="what it ends with does not match the output schema"):
        bp.run_handler("s", {"input": {"n": 1}})
    assert bp.run_handler("s", {"input": {"n": 1}, "context": {"n": 2}})["type"] == "GoTo"
    assert bp.run_handler("s", {"input": {"n": 1, "out": {"n": 3}}})["payload"] == {"n": 3}


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
    [("v1", "jobs/simple"), ("v2.1", "a/b-c"), (None, "orders"), ("v1", None), (None, "jobs/x")],
)
def test_an_endpoint_of_ones_own_is_fine(version: str | None, endpoint: str | None) -> None:
    assert endpoint_problem(version, endpoint) is None


@pytest.mark.parametrize(
    ("version", "endpoint", "text"),
    [
        ("v1", "workflows", "/api/v1/workflows is a route of the API"),
        ("v1", "workers/mine", "is a route of the API"),
        (None, "workflow/x", "is a route of the API"),
        ("v1", "jobs", "is a route of the API"),
        ("v1", "jobs/claim", "is a route of the API"),
        ("v1", "jobs/x/cancel", "is a route of the API"),
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
