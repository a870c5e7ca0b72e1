"""What a handler is given, and what is kept of what it does with it."""

from types import SimpleNamespace
from typing import Any

import pytest

from daybook import ActionFactory, Blueprint
from daybook.errors import BlueprintError
from tests.unit.blueprint.machines import Action, run, video, view


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
