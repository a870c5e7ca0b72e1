"""What a handler can choose: exactly one action a run, as the dictionary that the job's history keeps."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypedDict

from shared.application.files import RECORDED

Transitions = Mapping[str, str] | str
"""Which state comes after which port; a single name is where `success` leads."""


class ParallelTask(TypedDict, total=False):
    """One task of `dispatch_parallel`. `name` is its key in the results; the skill's name without it.

    `type` and `task_type` are other words for `skill`; the rest is as in `dispatch_task`.
    """

    skill: str
    type: str
    task_type: str
    input: Any
    params: Any
    name: str
    retry: Mapping[str, Any]
    run_timeout: float
    timeout_seconds: float
    dispatch_timeout: float
    dispatch_timeout_seconds: float
    result_timeout: float
    result_timeout_seconds: float
    urgency: int
    priority: float
    skill_version: str
    skill_type: str
    dispatch_strategy: str
    resource_requirements: Mapping[str, Any]
    resource_hint: str
    max_cost: float
    worker: str
    transitions: Mapping[str, str]


class ChoiceError(RuntimeError):
    """A handler chose twice, or something that cannot be."""


class Actions:
    """Given to a handler as `actions`. What is chosen is carried out when it has returned."""

    def __init__(self, check_event: Callable[[str, Any], str | None] | None = None) -> None:
        """`check_event` says what is wrong with an event's payload."""
        self._chosen: dict[str, Any] | None = None
        self._kept: dict[str, Any] = {}
        self._events: list[dict[str, Any]] = []
        self._check_event = check_event

    def update_context(self, values: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Keep values for later handlers and expressions; goes with whatever action is chosen."""
        self._kept.update(values or {})
        self._kept.update(more)

    def send_event(
        self, event_type: str, payload: Any = None, security: Any = None, metadata: Any = None
    ) -> None:
        """Tell of something; goes with whatever action is chosen. Who reads the job's history sees it.

        `security` and `metadata` are those of the job, whatever is given.
        """
        problem = self._check_event(_name(event_type), payload) if self._check_event else None
        if problem is not None:
            raise ChoiceError(
                f"send_event: the payload of {event_type!r} does not match its schema: {problem}"
            )
        self._events.append({"name": _name(event_type), "payload": payload})

    def moved_file(self, facts: Mapping[str, Any]) -> None:
        """Record that a file was moved, as `task_files` tells it; goes with whatever action is chosen."""
        self._events.append({"name": RECORDED, "payload": dict(facts)})

    def go_to(self, state: str, payload: Any = None, *, error_message: str | None = None) -> None:
        """Go on at another state. `payload` is its `last`; None hands on this state's own.

        `error_message` is what the job says of itself if it fails in that state: the `message` of its `last`.
        """
        given = {"message": error_message} if payload is None and error_message is not None else payload
        self._choose({"type": "GoTo", "node": _name(state), "payload": given})

    transition_to = go_to

    def dispatch_task(
        self,
        task_type: str | None = None,
        params: Any = None,
        transitions: Transitions | None = None,
        skill_version: str | None = None,
        event_transitions: Mapping[str, str] | None = None,
        dispatch_strategy: str = "default",
        resource_requirements: Mapping[str, Any] | None = None,
        timeout_seconds: float | None = None,
        dispatch_timeout_seconds: float | None = None,
        result_timeout_seconds: float | None = None,
        max_cost: float | None = None,
        priority: float | None = None,
        resource_hint: str | None = None,
        skill_type: str | None = None,
        *,
        worker: str | None = None,
        retry: Mapping[str, Any] | None = None,
        skill: str | None = None,
        input: Any = None,  # noqa: A002 (the word of the API)
        run_timeout: float | None = None,
        dispatch_timeout: float | None = None,
        urgency: int | None = None,
    ) -> None:
        """Have a worker do a task. Its output is `last` in the state that its port leads to, and the keys of
        an output that is an object are kept for all later handlers.

        `task_type` and `skill`, `params` and `input`, `timeout_seconds` and `run_timeout` are one each;
        `priority` p is the urgency 500 + 50 p. `event_transitions` lead from events that the worker tells of
        to states; the task is given up then. `skill_version`, `skill_type`, `dispatch_strategy`,
        `resource_requirements`, `max_cost` and `worker` say which worker may have it. A task that fails for
        good without a transition for `failure` fails the job.
        """
        task = _task(
            {
                "task_type": task_type,
                "skill": skill,
                "params": params,
                "input": input,
                "skill_version": skill_version,
                "skill_type": skill_type,
                "dispatch_strategy": dispatch_strategy,
                "resource_requirements": resource_requirements,
                "max_cost": max_cost,
                "worker": worker,
                "resource_hint": resource_hint,
                "timeout_seconds": timeout_seconds,
                "run_timeout": run_timeout,
                "dispatch_timeout_seconds": dispatch_timeout_seconds,
                "dispatch_timeout": dispatch_timeout,
                "result_timeout_seconds": result_timeout_seconds,
                "priority": priority,
                "urgency": urgency,
                "retry": None if retry is None else dict(retry),
            },
            "dispatch_task",
        )
        if event_transitions:
            task["event_transitions"] = transitions_of(event_transitions)
        task["remember"] = True
        self._choose({"type": "Dispatch", "task": task, "transitions": transitions_of(transitions)})

    def dispatch_parallel(
        self,
        tasks: Iterable[ParallelTask | Mapping[str, Any] | tuple[str, Any]],
        aggregate_into: str,
        *,
        failures: str = "collect",
    ) -> None:
        """Have workers do all tasks, and go on when all have answered: `last` holds their outputs by name,
        `aggregation_results` the whole answers by task.

        With failures="fail" the first task that fails for good fails the job; with "collect" its error is
        its answer.
        """
        wanted: list[dict[str, Any]] = []
        given: Any = tasks  # whatever a handler says
        if not isinstance(given, Iterable) or isinstance(given, str | Mapping):
            raise ChoiceError(f"dispatch_parallel needs a list of tasks, not {tasks!r}")
        for task in given:
            if not isinstance(task, Mapping | tuple):
                raise ChoiceError(f"dispatch_parallel: {task!r} is not a task with a skill")
            spec = (
                dict(task) if isinstance(task, Mapping) else dict(zip(("skill", "input"), task, strict=False))
            )
            if spec.keys() - ParallelTask.__annotations__.keys():
                raise ChoiceError(f"dispatch_parallel: {spec!r} is not a task with a skill")
            wanted.append(_task(spec, "dispatch_parallel"))
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
        integration: str | Mapping[str, str] = "approval",
        message: str | None = None,
        transitions: Mapping[str, str] | None = None,
        *,
        name: str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Wait until a person decides: `transitions` (also as the first argument) leads from each decision to
        a state. `integration`, or `name`, is what the approval is called.

        After `timeout` seconds the decision is "timeout".
        """
        called = name or "approval"
        if isinstance(integration, Mapping):
            transitions = integration
        else:
            called = name or integration
        if not transitions:
            raise ChoiceError("await_human_approval needs transitions, one for each decision")
        action = {"name": _name(called), "message": message, "timeout": timeout}
        self._choose({"type": "AwaitApproval", "transitions": transitions_of(transitions), **_given(action)})

    def run_blueprint(
        self,
        blueprint_name: str | None = None,
        initial_data: Any = None,
        transitions: Transitions | None = None,
        dispatch_timeout: float | None = None,
        result_timeout: float | None = None,
        *,
        name: str | None = None,
        input: Any = None,  # noqa: A002 (the word of the API)
        version: int | None = None,
    ) -> None:
        """Run another workflow as a child job and wait for its end (ports success and failure).

        `blueprint_name` and `name`, `initial_data` and `input` are one each. It must end within
        `result_timeout` seconds, and each of its tasks find a worker within `dispatch_timeout`. Later
        handlers find `sub_job_<id>_result` in the state's history.
        """
        given = {
            "input": initial_data if input is None else input,
            "version": version,
            "dispatch_timeout": dispatch_timeout,
            "result_timeout": result_timeout,
        }
        action = {"type": "RunWorkflow", "workflow": _name(blueprint_name or name)}
        self._choose({**action, "transitions": transitions_of(transitions), **_given(given)})

    def chosen(self) -> dict[str, Any] | None:
        """The recorded action with what was told of, None when none was chosen."""
        return None if self._chosen is None else self.with_events(self._chosen)

    def with_events(self, action: Mapping[str, Any]) -> dict[str, Any]:
        """`action` with what was told of."""
        return {**action, "events": self._events} if self._events else dict(action)

    @property
    def kept(self) -> dict[str, Any]:
        """What was kept by `update_context`."""
        return self._kept

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


_WORDS: Final = {
    "skill": ("skill", "task_type", "type"),
    "input": ("input", "params"),
    "name": ("name",),
    "retry": ("retry",),
    "run_timeout": ("run_timeout", "timeout_seconds"),
    "dispatch_timeout": ("dispatch_timeout", "dispatch_timeout_seconds"),
    "result_timeout": ("result_timeout", "result_timeout_seconds"),
    "urgency": ("urgency",),
}
_PLACEMENT: Final = {
    "strategy": "dispatch_strategy",
    "resources": "resource_requirements",
    "skill_version": "skill_version",
    "skill_type": "skill_type",
    "max_cost": "max_cost",
    "worker": "worker",
}


def _task(given: Mapping[str, Any], action: str) -> dict[str, Any]:
    """A task as it is recorded, from any of the words for its fields."""
    task: dict[str, Any] = {}
    for field, words in _WORDS.items():
        value = next((given[word] for word in words if given.get(word) is not None), None)
        if value is not None:
            task[field] = value
    if not isinstance(task.get("skill"), str) or not task["skill"]:
        raise ChoiceError(f"{action}: {dict(given)!r} is not a task with a skill")
    priority = given.get("priority")
    is_number = isinstance(priority, int | float) and not isinstance(priority, bool) and priority == priority
    if priority is not None and not is_number:
        raise ChoiceError(f"{action}: priority must be a number, not {priority!r}")
    if priority and "urgency" not in task:
        task["urgency"] = round(500 + 50 * max(-10, min(10, priority)))
    if given.get("resource_hint"):
        task["input"] = {**(task.get("input") or {}), "resource_hint": given["resource_hint"]}
    placement = {
        field: given[word] for field, word in _PLACEMENT.items() if given.get(word) not in (None, "", {})
    }
    if placement.get("strategy") == "default":
        del placement["strategy"]
    if placement:
        task["placement"] = placement
    return task


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ChoiceError(f"{value!r} is not a name")
    return value


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
