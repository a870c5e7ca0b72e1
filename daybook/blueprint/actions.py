"""What a handler can choose: exactly one action a run, as the dictionary that the job's history keeps."""

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

Transitions = Mapping[str, str] | str
"""Which state comes after which port; a single name is where `success` leads."""


class ParallelTask(TypedDict, total=False):
    """One task of `dispatch_parallel`. `name` is its key in the results; the skill's name without it."""

    skill: str
    input: Any
    name: str
    retry: Mapping[str, Any]
    run_timeout: float
    dispatch_timeout: float
    urgency: int


class ChoiceError(Exception):
    """A handler chose twice, or something that cannot be."""


class Actions:
    """Given to a handler as `actions`. What is chosen is carried out when it has returned."""

    def __init__(self) -> None:
        self._chosen: dict[str, Any] | None = None
        self._context: dict[str, Any] = {}

    def update_context(self, values: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Keep values for later handlers and expressions; goes with whatever action is chosen."""
        self._context.update(values or {})
        self._context.update(more)

    def go_to(self, state: str, payload: Any = None) -> None:
        """Go on at another state. `payload` is its `last`; None hands on this state's own."""
        self._choose({"type": "GoTo", "node": _name(state), "payload": payload})

    def dispatch_task(
        self,
        skill: str,
        input: Any = None,  # noqa: A002 (the word of the API)
        transitions: Transitions | None = None,
        *,
        retry: Mapping[str, Any] | None = None,
        run_timeout: float | None = None,
        dispatch_timeout: float | None = None,
        urgency: int | None = None,
    ) -> None:
        """Have a worker do a task. Its output is `last` in the state that its port leads to.

        A task that fails for good without a transition for `failure` fails the job.
        """
        task = {
            "skill": _name(skill),
            "input": input,
            "retry": None if retry is None else dict(retry),
            "run_timeout": run_timeout,
            "dispatch_timeout": dispatch_timeout,
            "urgency": urgency,
        }
        self._choose({"type": "Dispatch", "task": _given(task), "transitions": transitions_of(transitions)})

    def dispatch_parallel(
        self,
        tasks: Iterable[ParallelTask | tuple[str, Any]],
        aggregate_into: str,
        *,
        failures: str = "collect",
    ) -> None:
        """Have workers do all tasks, and go on when all have answered: `last` holds their outputs by name.

        With failures="fail" the first task that fails for good fails the job; with "collect" its error is
        its answer.
        """
        wanted: list[dict[str, Any]] = []
        for task in tasks:
            spec: dict[str, Any] = (
                {"skill": task[0], "input": task[1]} if isinstance(task, tuple) else dict(task)
            )
            unknown = spec.keys() - ParallelTask.__annotations__.keys()
            if unknown or not isinstance(spec.get("skill"), str):
                raise ChoiceError(f"dispatch_parallel: {spec!r} is not a task with a skill")
            wanted.append(_given(spec))
        if not wanted:
            raise ChoiceError("dispatch_parallel needs at least one task")
        self._choose(
            {
                "type": "Parallel",
                "tasks": wanted,
                "aggregate_into": _name(aggregate_into),
                "failures": failures,
            }
        )

    def await_human_approval(
        self,
        transitions: Mapping[str, str],
        *,
        name: str = "approval",
        message: str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Wait until a person decides: `transitions` leads from each decision to a state.

        After `timeout` seconds the decision is "timeout".
        """
        if not transitions:
            raise ChoiceError("await_human_approval needs transitions, one for each decision")
        action = {"name": name, "message": message, "timeout": timeout}
        self._choose({"type": "AwaitApproval", "transitions": transitions_of(transitions), **_given(action)})

    def run_blueprint(
        self,
        name: str,
        input: Any = None,  # noqa: A002 (the word of the API)
        transitions: Transitions | None = None,
        *,
        version: int | None = None,
    ) -> None:
        """Run another workflow as a child job and wait for its end (ports success and failure)."""
        action = {"workflow": _name(name), "input": input, "version": version}
        self._choose({"type": "RunWorkflow", "transitions": transitions_of(transitions), **_given(action)})

    def chosen(self) -> dict[str, Any] | None:
        """The recorded action with the context's values, None when none was chosen."""
        if self._chosen is None:
            return None
        return {**self._chosen, "context": self._context} if self._context else dict(self._chosen)

    @property
    def context(self) -> dict[str, Any]:
        """What was kept by `update_context`."""
        return self._context

    def _choose(self, action: dict[str, Any]) -> None:
        if self._chosen is not None:
            raise ChoiceError(
                f"a handler chooses one action, and this one chose {self._chosen['type']} already"
            )
        self._chosen = action


def transitions_of(transitions: Transitions | None) -> dict[str, str]:
    """Ports and states; a single name is where `success` leads, and nothing means that the path ends."""
    if transitions is None:
        return {}
    if isinstance(transitions, str):
        return {"success": _name(transitions)}
    return {_name(port): _name(state) for port, state in dict(transitions).items()}


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ChoiceError(f"{value!r} is not a name")
    return value


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
