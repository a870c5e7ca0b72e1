"""A workflow written in Python: states, each with a handler that chooses where to go.

    bp = Blueprint("order")

    @bp.state(start=True)
    def check(input, actions):
        actions.dispatch_task("stock", {"item": input["item"]}, {"success": "ship", "failure": "refuse"})

A handler decides and does nothing itself: no network, no waiting. It may be run again with the same
arguments.
"""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, overload

from daybook.blueprint.actions import Actions, ChoiceError
from daybook.blueprint.targets import targets_of
from daybook.errors import BlueprintError

F = TypeVar("F", bound=Callable[..., Any])
Outcome = Literal["succeeded", "failed"]

END = ":end"
"""What is put behind an end state's name to name the node in which the job ends."""

VIEW = ("job_id", "input", "context", "results", "last", "node", "workflow", "tags", "metadata", "attempt")
"""What a job view holds, and handlers may ask for by name, besides `actions`.

`input` is the job's; `context` what `update_context` kept; `results` outputs by node; `last` what came in.
"""


@dataclass(frozen=True, slots=True)
class State:
    """One state. `outcome` is set for an end state: what the job comes to when it ends here."""

    name: str
    function: Callable[..., Any]
    start: bool
    outcome: Outcome | None
    retry: Mapping[str, Any] | None
    on_error: str | None


class Blueprint:
    """States and their handlers, and the graph that they make."""

    def __init__(self, name: str, *, max_transitions: int | None = None) -> None:
        if not name:
            raise ValueError("a blueprint needs a name")
        self.name = name
        self.max_transitions = max_transitions
        self.states: dict[str, State] = {}

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
    ) -> Any:
        """Make a function the handler of a state; the state's name is the function's unless given.

        In a state with `end` (or an `outcome`) the job ends with what the handler returns; it fails there
        when the outcome is "failed", which is what a state called `failed` means if nothing else is said.
        `on_error` is the state that follows when the handler itself raises for good.
        """
        if callable(name):
            return self.state()(name)

        def register(function: F) -> F:
            chosen: str = name or function.__name__
            if chosen in self.states:
                raise BlueprintError(self.name, "there are two handlers for it", chosen)
            ending = outcome or (("failed" if chosen == "failed" else "succeeded") if end else None)
            self.states[chosen] = State(chosen, function, start, ending, retry, on_error)
            return function

        return register

    def handler(
        self, name: str | None = None, /, *, is_start: bool = False, is_end: bool = False
    ) -> Callable[[F], F]:
        """The same as `state`, in other words."""
        return self.state(name, start=is_start, end=is_end)

    def aggregator(self, name: str | None = None, /) -> Callable[[F], F]:
        """The same as `state`, for one that `dispatch_parallel` leads to."""
        return self.state(name)

    def graph(self) -> dict[str, Any]:
        """The workflow's graph. Raises BlueprintError that names the state when something cannot be."""
        seen = {name: targets_of(state.function) for name, state in self.states.items()}
        named = {name: [*targets.states] for name, targets in seen.items()}
        for name, state in self.states.items():
            if state.on_error is not None:
                named[name].append(state.on_error)
        start = self._start()
        for name, states in named.items():
            for target in states:
                if target not in self.states:
                    raise BlueprintError(self.name, f"it leads to {target!r}, which is no state", name)
        if not any(targets.open for targets in seen.values()):
            self._check_reached(start, named)
        return self._document(start, seen)

    def run_handler(self, state: str, view: Mapping[str, Any]) -> dict[str, Any]:
        """Run a state's handler: the action that it chose. `view` is described by VIEW.

        Raises BlueprintError for a handler that chooses wrongly, and what the handler raises.
        """
        found = self.states.get(state)
        if found is None:
            raise BlueprintError(self.name, "there is no such state (any more)", state)
        actions = Actions()
        try:
            returned = found.function(**self._arguments(found, view, actions))
            if inspect.isawaitable(returned):
                returned = asyncio.run(_awaited(returned))
        except ChoiceError as error:
            raise BlueprintError(self.name, str(error), state) from error
        chosen = actions.chosen()
        if chosen is not None:
            return chosen
        if found.outcome is None:
            raise BlueprintError(self.name, "its handler chose no action", state)
        ending: dict[str, Any] = {"type": "GoTo", "node": state + END, "payload": returned}
        return {**ending, "context": actions.context} if actions.context else ending

    def _arguments(self, state: State, view: Mapping[str, Any], actions: Actions) -> dict[str, Any]:
        given: dict[str, Any] = {}
        sources = [view, view.get("context") or {}, view.get("input") or {}]
        for name, parameter in inspect.signature(state.function).parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            if name == "actions":
                given[name] = actions
                continue
            for source in sources:
                if isinstance(source, Mapping) and name in source:
                    given[name] = source[name]
                    break
            else:
                if parameter.default is parameter.empty:
                    known = ", ".join(("actions", *VIEW))
                    text = f"there is no value for its argument {name!r}; there are {known}, and the keys of"
                    raise BlueprintError(self.name, f"{text} the context and the input", state.name)
        return given

    def _start(self) -> str:
        starts = [name for name, state in self.states.items() if state.start]
        if len(starts) != 1:
            text = f"exactly one state is the start, not {len(starts)} ({', '.join(starts) or 'none'})"
            raise BlueprintError(self.name, text)
        return starts[0]

    def _check_reached(self, start: str, named: Mapping[str, list[str]]) -> None:
        reached, todo = {start}, [start]
        while todo:
            for target in named[todo.pop()]:
                if target not in reached:
                    reached.add(target)
                    todo.append(target)
        for name in self.states:
            if name not in reached:
                raise BlueprintError(self.name, "no state leads to it", name)

    def _document(self, start: str, seen: Mapping[str, Any]) -> dict[str, Any]:
        nodes: dict[str, Any] = {}
        edges: list[dict[str, str]] = []
        for name, state in self.states.items():
            node: dict[str, Any] = {"kind": "state", "handler": name}
            if state.retry is not None:
                node["retry"] = dict(state.retry)
            nodes[name] = node
            # The ports only draw the graph: where a state leads is decided by its handler.
            edges += [{"from": name, "port": f"to {to}", "to": to} for to in seen[name].states]
            if state.on_error is not None:
                edges.append({"from": name, "port": "failure", "to": state.on_error})
            if state.outcome is not None:
                nodes[name + END] = {"kind": "end", "outcome": state.outcome}
                edges.append({"from": name, "port": "end", "to": name + END})
        document: dict[str, Any] = {"entry": start, "nodes": nodes, "edges": edges}
        if self.max_transitions is not None:
            document["max_transitions"] = self.max_transitions
        return document


async def _awaited(returned: Any) -> Any:
    return await returned
