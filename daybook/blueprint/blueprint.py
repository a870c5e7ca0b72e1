"""A workflow written in Python: states, each with a handler that chooses where to go.

    bp = Blueprint("order")

    @bp.state(start=True)
    def check(input, actions):
        actions.dispatch_task("stock", {"item": input["item"]}, {"success": "ship", "failure": "refuse"})

A handler decides and does nothing itself: no waiting, and nothing that must not happen twice, since it may
be run again with the same arguments.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, overload

from daybook.blueprint.conditions import Condition
from daybook.blueprint.context import DictStore
from daybook.blueprint.graph import graph_of, start_of, targets_by_state
from daybook.blueprint.runs import OpenFiles, run_handler
from daybook.blueprint.schemas import schema_of, schemas_problem
from daybook.blueprint.states import Handler, Outcome, Registration, State
from daybook.errors import BlueprintError
from shared.application.drawing import dot_of
from shared.application.endpoint_names import endpoint_problem

F = TypeVar("F", bound=Handler)


class Blueprint:
    """States and their handlers, and the graph that they make."""

    def __init__(
        self,
        name: str,
        api_endpoint: str | None = None,
        api_version: str | None = None,
        data_stores: Mapping[str, Any] | None = None,
        *,
        max_transitions: int | None = None,
        input_schema: Any = None,
        output_schema: Any = None,
    ) -> None:
        """Jobs can be submitted at `/api/{api_version}/{api_endpoint}` too, when there is an endpoint.

        `data_stores` are what handlers find by name in their argument `data_stores`: a dictionary becomes a
        store with `get` and `set`, anything else is itself. The schemas, dictionaries or types, are of the
        job's input and of what it ends with.
        """
        if not name:
            raise ValueError("a blueprint needs a name")
        self.name = name
        self.api_endpoint = (api_endpoint or "").strip("/") or None
        self.api_version = (api_version or "").strip("/") or None
        self.data_stores: dict[str, Any] = {}
        for store, values in (data_stores or {}).items():
            self.add_data_store(store, values)
        self.max_transitions = max_transitions
        self.input_schema = schema_of(input_schema)
        self.output_schema = schema_of(output_schema)
        self.events_schema: dict[str, dict[str, Any]] = {}
        self.states: dict[str, State] = {}

    def add_data_store(self, name: str, initial_data: Any) -> None:
        """One more store. Raises ValueError when the name is taken."""
        if name in self.data_stores:
            raise ValueError(f"blueprint {self.name!r} has a data store {name!r} already")
        self.data_stores[name] = DictStore(initial_data) if isinstance(initial_data, dict) else initial_data

    @overload
    def state(self, function: F, /) -> F: ...

    @overload
    def state(
        self,
        name: str | None = None,
        /,
        *,
        start: bool = False,
        end: bool = False,
        outcome: Outcome | None = None,
        retry: Mapping[str, Any] | None = None,
        on_error: str | None = None,
        condition: Condition | None = None,
    ) -> Registration: ...

    def state(
        self,
        name: Any = None,
        /,
        *,
        start: bool = False,
        end: bool = False,
        outcome: Outcome | None = None,
        retry: Mapping[str, Any] | None = None,
        on_error: str | None = None,
        condition: Condition | None = None,
    ) -> Any:
        """Make a function the handler of a state; the state's name is the function's unless given.

        In a state with `end` (or an `outcome`) the job ends with what the handler returns; it fails there
        when the outcome is "failed", which is what a state called `failed` means if nothing else is said.
        `on_error` is the state that follows when the handler itself raises for good. With a `condition` the
        handler is only for jobs of which it is true, which `.when(condition)` behind the call says too; a
        state may have several such, and one without.
        """
        if callable(name) and not isinstance(name, Condition):
            return self.state()(name)

        def register(function: Handler, condition: Condition | None) -> None:
            state = self._state(name or function.__name__)
            if condition is not None:
                state.conditional.append((condition, function))
            elif state.function is not None:
                raise BlueprintError(self.name, "there are two handlers for it", state.name)
            else:
                state.function = function
            if start:
                state.start = True
            if outcome or end:
                state.outcome = outcome or ("failed" if state.name == "failed" else "succeeded")
            state.retry = retry or state.retry
            state.on_error = on_error or state.on_error

        return Registration(register, condition)

    @overload
    def handler(
        self,
        *what: str | Condition | None,
        is_start: bool = False,
        is_end: bool = False,
        condition: Condition | None = None,
    ) -> Registration: ...

    @overload
    def handler(self, function: F, /) -> F: ...

    def handler(
        self, *what: Any, is_start: bool = False, is_end: bool = False, condition: Condition | None = None
    ) -> Any:
        """The same as `state`, in other words: `@bp.handler`, `@bp.handler(name)`,
        `@bp.handler(condition)`, `@bp.handler(name, condition)`."""
        if len(what) == 1 and callable(what[0]) and not isinstance(what[0], Condition):
            return self.state(what[0].__name__, start=is_start, end=is_end, condition=condition)(what[0])
        name: str | None = None
        for given in what:
            if isinstance(given, Condition) and condition is None:
                condition = given
            elif isinstance(given, str) and name is None:
                name = given
            elif given is not None:
                raise TypeError(f"a handler has a name and a condition, and not {given!r}")
        return self.state(name, start=is_start, end=is_end, condition=condition)

    @overload
    def aggregator(self, name: str | None = None, /) -> Callable[[F], F]: ...

    @overload
    def aggregator(self, function: F, /) -> F: ...

    def aggregator(self, what: str | Handler | None = None, /) -> Any:
        """Make a function the handler of a state for jobs that `dispatch_parallel` leads there."""

        def register(function: F) -> F:
            state = self._state(what if isinstance(what, str) else function.__name__)
            if state.aggregator is not None:
                raise BlueprintError(self.name, "there are two aggregators for it", state.name)
            state.aggregator = function
            return function

        return register(what) if callable(what) else register

    def event(self, name: str, schema: Any = None) -> Callable[[F], F]:
        """Say what the payload of an event is that handlers tell of; a call, or a decorator."""
        self.events_schema[name] = schema_of(schema)
        return lambda function: function

    def graph(self) -> dict[str, Any]:
        """The workflow's graph. Raises BlueprintError that names the state when something cannot be."""
        problem = endpoint_problem(self.api_version, self.api_endpoint) or schemas_problem(
            self.input_schema, self.output_schema, self.events_schema
        )
        if problem is not None:
            raise BlueprintError(self.name, problem)
        graph = graph_of(self.name, self.states)
        if self.max_transitions is not None:
            graph["max_transitions"] = self.max_transitions
        return graph

    def validate(self) -> None:
        """Raises BlueprintError that names the state when something cannot be."""
        self.graph()

    def dot(self) -> str:
        """The states and where they lead, as a DOT text."""
        return dot_of(self.name, targets_by_state(self.states)[0])

    def meta(self) -> dict[str, Any]:
        """What is published beside the graph: where jobs are submitted, what they look like, a picture."""
        known = {
            "api_endpoint": self.api_endpoint,
            "api_version": self.api_version,
            "dot": self.dot(),
            "start_state": start_of(self.name, self.states),
            "end_states": [name for name, state in self.states.items() if state.outcome is not None],
            "input_schema": self.input_schema,
            "output_schema": self.output_schema,
            "events_schema": self.events_schema,
        }
        return {name: value for name, value in known.items() if value}

    def run_handler(
        self, state: str, view: Mapping[str, Any], files: OpenFiles | None = None
    ) -> dict[str, Any]:
        """Run a state's handler: the action that it chose. `view` is a job as view_of gives it, `files` makes
        its `task_files`.

        Raises BlueprintError for a handler that chooses wrongly, and what the handler raises.
        """
        return run_handler(self, state, view, files)

    def _state(self, name: str) -> State:
        return self.states.setdefault(name, State(name))
