"""What the handler of a state node can yield: one action, with values for the job's context."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from shared.domain.errors import InvalidValue
from shared.domain.job.spec import check_seconds, check_text, check_urgency
from shared.domain.placement import needs_of
from shared.domain.retry import RetryPolicy
from shared.domain.values import NORMAL_URGENCY, Json


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task that a handler asks for; `name` tells the branches of a Parallel apart.

    `placement` is what its worker must be beside having the skill; `event_transitions` lead from events that
    the worker tells of to nodes; `result_timeout` is seconds for all attempts together; with `remember` an
    object that the task gives is merged into the job's context.
    """

    skill: str
    input: Json = None
    name: str | None = None
    retry: Mapping[str, Json] | None = None
    run_timeout: float | None = None
    dispatch_timeout: float | None = None
    urgency: int | None = None
    placement: Mapping[str, Json] | None = None
    event_transitions: Mapping[str, str] | None = None
    result_timeout: float | None = None
    remember: bool = False


@dataclass(frozen=True, slots=True)
class Emission:
    """An event that a handler tells of, beside its action."""

    name: str
    payload: Json = None


@dataclass(frozen=True, slots=True)
class GoTo:
    """Go on at `node`, with `payload`."""

    node: str
    payload: Json = None
    context: Mapping[str, Json] = field(default_factory=dict)
    events: tuple[Emission, ...] = ()


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Have a worker do `task`, and go on at the node that `transitions` names for its port."""

    task: TaskSpec
    transitions: Mapping[str, str]
    context: Mapping[str, Json] = field(default_factory=dict)
    events: tuple[Emission, ...] = ()


@dataclass(frozen=True, slots=True)
class Parallel:
    """Have workers do all `tasks`, and go on at `aggregate_into` when all have answered.

    A task that fails counts as an answer that holds its error, unless `failures` is "fail".
    """

    tasks: tuple[TaskSpec, ...]
    aggregate_into: str
    failures: str = "collect"
    context: Mapping[str, Json] = field(default_factory=dict)
    events: tuple[Emission, ...] = ()


@dataclass(frozen=True, slots=True)
class AwaitApproval:
    """Wait for one of the decisions that are the keys of `transitions`; `timeout` is seconds."""

    name: str
    transitions: Mapping[str, str]
    message: str | None = None
    timeout: float | None = None
    context: Mapping[str, Json] = field(default_factory=dict)
    events: tuple[Emission, ...] = ()


@dataclass(frozen=True, slots=True)
class RunWorkflow:
    """Run another workflow as a child job; the ports are success and failure."""

    workflow: str
    transitions: Mapping[str, str]
    input: Json = None
    version: int | None = None
    dispatch_timeout: float | None = None
    result_timeout: float | None = None
    context: Mapping[str, Json] = field(default_factory=dict)
    events: tuple[Emission, ...] = ()


Action: TypeAlias = GoTo | Dispatch | Parallel | AwaitApproval | RunWorkflow


def to_json(action: Action) -> dict[str, Json]:
    """The action as the event HandlerDecided keeps it: empty fields are left out."""
    document: dict[str, Json] = {"type": type(action).__name__}
    for name in action.__slots__:
        value = getattr(action, name)
        if isinstance(value, TaskSpec):
            document[name] = _task_json(value)
        elif name == "tasks":
            document[name] = [_task_json(task) for task in value]
        elif name == "events":
            continue  # they are events themselves
        elif isinstance(value, Mapping):
            if value:
                document[name] = dict(value)
        elif value is not None:
            document[name] = value
    return document


def check(action: Action) -> None:
    """Raises InvalidValue for an action that cannot be carried out whatever the graph is."""
    match action:
        case Dispatch(task=task):
            _check_task(task)
        case Parallel(tasks=tasks):
            for task in tasks:
                _check_task(task)
    match action:
        case Parallel(tasks=()):
            raise InvalidValue("Parallel needs at least one task")
        case Parallel(failures=failures) if failures not in ("fail", "collect"):
            raise InvalidValue(f"Parallel: failures must be fail or collect, not {failures!r}")
        case AwaitApproval(transitions=transitions) if not transitions:
            raise InvalidValue("AwaitApproval needs transitions, one for each decision")
        case AwaitApproval(timeout=timeout, message=message):
            check_seconds("timeout", timeout)
            check_text("message", message)
        case RunWorkflow(dispatch_timeout=dispatch, result_timeout=result):
            check_seconds("dispatch_timeout", dispatch)
            check_seconds("result_timeout", result)


def _check_task(task: TaskSpec) -> None:
    if not task.skill:
        raise InvalidValue("a task needs a skill")
    check_urgency(NORMAL_URGENCY if task.urgency is None else task.urgency)
    check_seconds("dispatch_timeout", task.dispatch_timeout)
    check_seconds("run_timeout", task.run_timeout)
    check_seconds("result_timeout", task.result_timeout)
    check_text("name", task.name)
    if task.retry is not None and not isinstance(task.retry, Mapping):
        raise InvalidValue(f"retry must be an object, not {task.retry!r}")
    RetryPolicy.of(task.retry)
    if task.placement is not None:
        needs_of(task.placement)


def _task_json(task: TaskSpec) -> dict[str, Json]:
    document: dict[str, Json] = {}
    for name in task.__slots__:
        value = getattr(task, name)
        if value is not None and value is not False:
            document[name] = dict(value) if isinstance(value, Mapping) and name != "input" else value
    return document
