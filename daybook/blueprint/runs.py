"""A run of a handler: what it is called with, and the action that it chose."""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from daybook.blueprint.actions import Actions, ChoiceError
from daybook.blueprint.context import ARGUMENTS, JobContext
from daybook.blueprint.schemas import problem_of
from daybook.blueprint.states import Handler, State
from daybook.errors import BlueprintError
from shared.application.blueprint_words import END

if TYPE_CHECKING:
    from daybook.blueprint.blueprint import Blueprint
    from daybook.blueprint.files import TaskFiles

OpenFiles = Callable[[Mapping[str, Any], Actions], "TaskFiles"]
"""Makes the `task_files` of a job, given as view_of gives it; the actions record what it moves."""


@dataclass(frozen=True, slots=True)
class HandlerRun:
    """Call `handler` with `arguments`; `action` tells what it chose."""

    blueprint: "Blueprint"
    state: State
    handler: Handler
    arguments: dict[str, Any]
    actions: Actions
    job: JobContext

    def action(self, returned: Any) -> dict[str, Any]:
        """The action that the handler chose, now that it has `returned`. Raises BlueprintError."""
        chosen = self.actions.chosen()
        if chosen is None:
            if self.state.outcome is None:
                raise BlueprintError(self.blueprint.name, "its handler chose no action", self.state.name)
            chosen = self.actions.with_events(self._ending(returned))
        changes = self.job.changes()
        return {**chosen, "context": changes} if changes else chosen

    def _ending(self, returned: Any) -> dict[str, Any]:
        # Some handlers end with `return actions`, whatever they chose.
        nothing = returned is None or isinstance(returned, Actions)
        output = self.job.state_history.get(self.state.name) if nothing else returned
        if self.state.outcome == "succeeded":
            given = self.job.state_history if output is None else output
            problem = problem_of(self.blueprint.output_schema, given)
            if problem is not None:
                text = f"what it ends with does not match the output schema: {problem}"
                raise BlueprintError(self.blueprint.name, text, self.state.name)
        return {"type": "GoTo", "node": self.state.name + END, "payload": output}


def begin(
    blueprint: "Blueprint", state: str, view: Mapping[str, Any], files: OpenFiles | None = None
) -> HandlerRun:
    """The handler that a state has for a job, and what to call it with. `view` is the job as view_of gives
    it, `files` makes its `task_files`. Raises BlueprintError.
    """
    found = blueprint.states.get(state)
    if found is None:
        raise BlueprintError(blueprint.name, "there is no such state (any more)", state)
    actions = Actions(lambda name, payload: problem_of(blueprint.events_schema.get(name), payload))
    task_files = None if files is None else files(view, actions)
    job = JobContext({"node": state, **view}, actions, blueprint.data_stores, task_files)
    if found.start:
        problem = problem_of(blueprint.input_schema, view.get("input"))
        if problem is not None:
            text = f"its input does not match the input schema: {problem}"
            raise BlueprintError(blueprint.name, text, state)
    handler = found.handler_for(job, bool(view.get("aggregated")))
    if handler is None:
        text = "none of its conditions is true of the job, and there is no handler without one"
        raise BlueprintError(blueprint.name, text, state)
    arguments = _arguments(blueprint.name, found, handler, job)
    return HandlerRun(blueprint, found, handler, arguments, actions, job)


def run_handler(
    blueprint: "Blueprint", state: str, view: Mapping[str, Any], files: OpenFiles | None = None
) -> dict[str, Any]:
    """Run a state's handler to its end: the action that it chose.

    Raises BlueprintError for a handler that chooses wrongly, and what the handler raises.
    """
    run = begin(blueprint, state, view, files)
    try:
        returned = run.handler(**run.arguments)
        if inspect.isawaitable(returned):
            returned = asyncio.run(_awaited(returned))
    except ChoiceError as error:
        raise BlueprintError(blueprint.name, str(error), state) from error
    return run.action(returned)


def _arguments(blueprint: str, state: State, handler: Handler, job: JobContext) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, parameter in inspect.signature(handler).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        value = job.argument(name, parameter.default)
        if value is parameter.empty:
            known = ", ".join(ARGUMENTS)
            text = f"there is no value for its argument {name!r}; there are {known}, and the keys of"
            raise BlueprintError(blueprint, f"{text} the state's history and the input", state.name)
        given[name] = value
    return given


async def _awaited(returned: Any) -> Any:
    return await returned
