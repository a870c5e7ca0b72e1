"""A workflow written in Python: states, each with a handler that chooses where to go.

    bp = Blueprint("order")

    @bp.state(start=True)
    def check(input, actions):
        actions.dispatch_task("stock", {"item": input["item"]}, {"success": "ship", "failure": "refuse"})

A handler decides and does nothing itself: no waiting, and nothing that must not happen twice, since it may
be run again with the same arguments.
"""

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from daybook.blueprint.actions import Actions, ChoiceError
from daybook.blueprint.conditions import Condition
from daybook.blueprint.context import ARGUMENTS, DictStore, JobContext
from daybook.blueprint.drawing import dot_of
from daybook.blueprint.endpoints import endpoint_of, endpoint_problem
from daybook.blueprint.schemas import problem_of, schema_of, schemas_problem
from daybook.blueprint.targets import targets_of
from daybook.errors import BlueprintError
from shared.application.blueprint_words import END

if TYPE_CHECKING:
    from daybook.blueprint.files import TaskFiles

F = TypeVar("F", bound=Callable[..., Any])
Handler = Callable[..., Any]
OpenFiles = Callable[[Mapping[str, Any], Actions], "TaskFiles"]
"""Makes the `task_files` of a job, given as view_of gives it; the actions record what it moves."""
Outcome = Literal["succeeded", "failed"]


@dataclass(slots=True)
class State:
    """One state. `outcome` is set for an end state: what the job comes to when it ends here.

    `conditional` handlers are asked in their order, the first whose condition holds is run; `function` is
    for all other jobs, `aggregator` for one that comes from parallel tasks.
    """

    name: str
    function: Handler | None = None
    conditional: list[tuple[Condition, Handler]] = field(default_factory=list)
    aggregator: Handler | None = None
    start: bool = False
    outcome: Outcome | None = None
    retry: Mapping[str, Any] | None = None
    on_error: str | None = None

    def handlers(self) -> Iterator[Handler]:
        """All of them."""
        if self.function is not None:
            yield self.function
        if self.aggregator is not None:
            yield self.aggregator
        yield from (handler for _, handler in self.conditional)

    def handler_for(self, job: JobContext, aggregated: bool) -> Handler | None:
        """The one to run for `job`."""
        if aggregated and self.aggregator is not None:
            return self.aggregator
        for condition, handler in self.conditional:
            if condition.holds(job):
                return handler
        return self.function or self.aggregator


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
        self.api_endpoint = endpoint_of(api_endpoint)
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
    ) -> Callable[[F], F]: ...

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
        handler is only for jobs of which it is true; a state may have several such, and one without.
        """
        if callable(name) and not isinstance(name, Condition):
            return self.state()(name)

        def register(function: F) -> F:
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
            return function

        return register

    @overload
    def handler(
        self,
        *what: str | Condition | None,
        is_start: bool = False,
        is_end: bool = False,
        condition: Condition | None = None,
    ) -> Callable[[F], F]: ...

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
        named, closed = self._targets()
        start = self._start()
        for name, states in named.items():
            for target in states:
                if target not in self.states:
                    raise BlueprintError(self.name, f"it leads to {target!r}, which is no state", name)
            on_error = self.states[name].on_error
            if on_error is not None and on_error not in self.states:
                raise BlueprintError(self.name, f"it leads to {on_error!r}, which is no state", name)
        for name, state in self.states.items():
            if state.outcome is None and any(targets_of(handler).is_empty for handler in state.handlers()):
                raise BlueprintError(self.name, "its handler is empty, and it is no end state", name)
        if closed:
            self._check_reached(start, named)
        return self._document(start, named)

    def validate(self) -> None:
        """Raises BlueprintError that names the state when something cannot be."""
        self.graph()

    def dot(self) -> str:
        """The states and where they lead, as a DOT text."""
        return dot_of(self.name, self._targets()[0])

    def meta(self) -> dict[str, Any]:
        """What is published beside the graph: where jobs are submitted, what they look like, a picture."""
        known = {
            "api_endpoint": self.api_endpoint,
            "api_version": self.api_version,
            "dot": self.dot(),
            "start_state": self._start(),
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
        run = self.begin(state, view, files)
        try:
            returned = run.handler(**run.arguments)
            if inspect.isawaitable(returned):
                returned = asyncio.run(_awaited(returned))
        except ChoiceError as error:
            raise BlueprintError(self.name, str(error), state) from error
        return self.chosen(run, returned)

    def begin(self, state: str, view: Mapping[str, Any], files: OpenFiles | None = None) -> "HandlerRun":
        """The handler that a state has for a job, and what to call it with; `files` makes its `task_files`.
        Raises BlueprintError.
        """
        found = self.states.get(state)
        if found is None:
            raise BlueprintError(self.name, "there is no such state (any more)", state)
        actions = Actions(lambda name, payload: problem_of(self.events_schema.get(name), payload))
        task_files = None if files is None else files(view, actions)
        job = JobContext({"node": state, **view}, actions, self.data_stores, task_files)
        if found.start:
            self._check(
                "its input does not match the input schema", self.input_schema, view.get("input"), state
            )
        handler = found.handler_for(job, bool(view.get("aggregated")))
        if handler is None:
            text = "none of its conditions is true of the job, and there is no handler without one"
            raise BlueprintError(self.name, text, state)
        return HandlerRun(found, handler, self._arguments(found, handler, job), actions, job)

    def chosen(self, run: "HandlerRun", returned: Any) -> dict[str, Any]:
        """The action that a handler chose, now that it has `returned`. Raises BlueprintError."""
        state = run.state
        chosen = run.actions.chosen()
        if chosen is None:
            if state.outcome is None:
                raise BlueprintError(self.name, "its handler chose no action", state.name)
            chosen = run.actions.with_events(self._ending(state, returned, run.job))
        changes = run.job.changes()
        return {**chosen, "context": changes} if changes else chosen

    def _ending(self, state: State, returned: Any, job: JobContext) -> dict[str, Any]:
        output = job.state_history.get(state.name) if returned is None else returned
        if state.outcome == "succeeded":
            given = job.state_history if output is None else output
            self._check(
                "what it ends with does not match the output schema", self.output_schema, given, state.name
            )
        return {"type": "GoTo", "node": state.name + END, "payload": output}

    def _check(self, text: str, schema: dict[str, Any], value: Any, state: str) -> None:
        problem = problem_of(schema, value)
        if problem is not None:
            raise BlueprintError(self.name, f"{text}: {problem}", state)

    def _arguments(self, state: State, handler: Handler, job: JobContext) -> dict[str, Any]:
        given: dict[str, Any] = {}
        for name, parameter in inspect.signature(handler).parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            value = job.argument(name, parameter.default)
            if value is parameter.empty:
                known = ", ".join(ARGUMENTS)
                text = f"there is no value for its argument {name!r}; there are {known}, and the keys of"
                raise BlueprintError(self.name, f"{text} the state's history and the input", state.name)
            given[name] = value
        return given

    def _state(self, name: str) -> State:
        return self.states.setdefault(name, State(name))

    def _start(self) -> str:
        starts = [name for name, state in self.states.items() if state.start]
        if len(starts) != 1:
            text = f"exactly one state is the start, not {len(starts)} ({', '.join(starts) or 'none'})"
            raise BlueprintError(self.name, text)
        return starts[0]

    def _targets(self) -> tuple[dict[str, list[str]], bool]:
        """Where each state is seen to lead, and whether nothing else is possible."""
        named: dict[str, list[str]] = {}
        closed = True
        for name, state in self.states.items():
            seen = [targets_of(handler) for handler in state.handlers()]
            closed = closed and not any(targets.open for targets in seen)
            states = [target for targets in seen for target in targets.states]
            named[name] = list(dict.fromkeys(states))
        return named, closed

    def _check_reached(self, start: str, named: Mapping[str, list[str]]) -> None:
        reached, todo = {start}, [start]
        while todo:
            state = todo.pop()
            on_error = self.states[state].on_error
            for target in (*named[state], *([on_error] if on_error else ())):
                if target not in reached:
                    reached.add(target)
                    todo.append(target)
        for name in self.states:
            if name not in reached:
                raise BlueprintError(self.name, "no state leads to it", name)

    def _document(self, start: str, named: Mapping[str, list[str]]) -> dict[str, Any]:
        nodes: dict[str, Any] = {}
        edges: list[dict[str, str]] = []
        for name, state in self.states.items():
            node: dict[str, Any] = {"kind": "state", "handler": name}
            if state.retry is not None:
                node["retry"] = dict(state.retry)
            nodes[name] = node
            # The ports only draw the graph: where a state leads is decided by its handler.
            edges += [{"from": name, "port": f"to {to}", "to": to} for to in named[name]]
            if state.on_error is not None:
                edges.append({"from": name, "port": "failure", "to": state.on_error})
            if state.outcome is not None:
                nodes[name + END] = {"kind": "end", "outcome": state.outcome}
                edges.append({"from": name, "port": "end", "to": name + END})
        document: dict[str, Any] = {"entry": start, "nodes": nodes, "edges": edges}
        if self.max_transitions is not None:
            document["max_transitions"] = self.max_transitions
        return document


@dataclass(frozen=True, slots=True)
class HandlerRun:
    """One call of a handler: it is called with `arguments`, and what it chooses is found in `actions`."""

    state: State
    handler: Handler
    arguments: dict[str, Any]
    actions: Actions
    job: JobContext


async def _awaited(returned: Any) -> Any:
    return await returned
