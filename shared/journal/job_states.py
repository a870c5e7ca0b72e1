"""The state of a job for its snapshots: rows of JSON primitives, one for each task and activation.

Everything that `JobState` names is written; what is derived from a job's state is not. Ended tasks stay, as
they do in the job, because a late report is answered from them.
"""

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from hashlib import sha256
from operator import attrgetter
from types import ModuleType
from typing import Any, Generic, NamedTuple, TypeVar

from shared.domain import values as values_module
from shared.domain.job import Job, events, node_events, state, wait_events
from shared.domain.job import job as job_module
from shared.domain.job.events import JobAccepted, made
from shared.domain.job.state import Child, Group, Handling, Region, Repetition, Task, Waiting
from shared.domain.values import Status

T = TypeVar("T")

FOLDING: tuple[ModuleType, ...] = (job_module, state, events, node_events, wait_events, values_module)
"""The modules whose code makes a job out of its events."""


class _Way(NamedTuple):
    """How a field that is no JSON is written and read."""

    dump: Callable[[Any], Any]
    load: Callable[[Any], Any]


def _pairs(by_number: dict[int, Any]) -> list[tuple[int, Any]]:
    return list(by_number.items())


def _outcomes(pairs: Iterable[tuple[int, list[Any]]]) -> dict[int, tuple[Any, ...]]:
    return {number: tuple(outcome) for number, outcome in pairs}


def _row_or_none(row: list[Any] | None) -> tuple[Any, ...] | None:
    return None if row is None else tuple(row)


_SET = _Way(sorted, set)
_BY_NUMBER = _Way(_pairs, dict)
_OUTCOMES = _Way(_pairs, _outcomes)

WAYS: dict[type, dict[str, _Way]] = {
    Task: {"result": _Way(_row_or_none, _row_or_none)},
    Waiting: {},
    Child: {},
    Handling: {},
    Group: {"open": _SET, "arrived": _OUTCOMES, "failed": _OUTCOMES},
    Repetition: {"open": _SET, "results": _BY_NUMBER},
    Region: {},
}
"""The dataclasses of the state, and those of their fields that are not JSON as they are."""


class _Rows(Generic[T]):
    """Objects of one dataclass as rows of their fields."""

    def __init__(self, cls: Callable[..., T], ways: dict[str, _Way]) -> None:
        names = [field.name for field in fields(cls)]  # type: ignore[arg-type]  # a dataclass
        self._cls = cls
        self._values = attrgetter(*names)
        self._ways = [(names.index(name), way) for name, way in ways.items()]

    def dump(self, one: T) -> Sequence[Any]:
        values: tuple[Any, ...] = self._values(one)
        if not self._ways:
            return values
        row = list(values)
        for index, way in self._ways:
            row[index] = way.dump(row[index])
        return row

    def load(self, row: list[Any]) -> T:
        for index, way in self._ways:
            row[index] = way.load(row[index])
        return self._cls(*row)


_TASKS: _Rows[Task] = _Rows(Task, WAYS[Task])
_ACTIVATIONS: dict[str, _Rows[Any]] = {cls.__name__: _Rows(cls, ways) for cls, ways in WAYS.items()}
_PLAIN = (
    *("last_activation", "outputs", "context", "signals", "received", "approvals"),
    *("state", "states_entered", "paused", "output", "error"),
)
_CODED = frozenset({"spec", "tasks", "live_tasks", "activations", "ignored", "orphans", "emitted", "ended"})
COVERED = _CODED | frozenset(_PLAIN)
"""The names of the state that are written: all of them, which a test holds this to."""


class JobStates:
    """`StateCodec` of jobs."""

    def __init__(self) -> None:
        """Reads the source of the code that folds events: any change of it is another encoding."""
        code = sha256()
        for module in (*FOLDING, inspect.getmodule(JobStates)):
            assert module is not None
            code.update(inspect.getsource(module).encode())
        self.encoding = f"job {code.hexdigest()[:32]}"

    def dump(self, aggregate: Job) -> object:
        job = aggregate
        spec = dict(vars(job.spec))
        for name in _OF_ANY_EVENT:
            del spec[name]
        return {
            "spec": spec,
            "tasks": [_TASKS.dump(task) for task in job.tasks.values()],
            "live_tasks": list(job.live_tasks),
            "activations": [
                (type(live).__name__, _ACTIVATIONS[type(live).__name__].dump(live))
                for live in job.activations.values()
            ],
            "ignored": list(job.ignored),
            "orphans": _pairs(job.orphans),
            "emitted": list(job.emitted),
            "ended": job.ended,
            "plain": [getattr(job, name) for name in _PLAIN],
        }

    def load(self, aggregate: Job, state: Any) -> None:
        job = aggregate
        spec = {**state["spec"], "timestamp": job.created_on}
        job.begin(made(JobAccepted, job.id, job.INITIAL_VERSION, spec))
        job.tasks = {task.id: task for task in map(_TASKS.load, state["tasks"])}
        job.live_tasks = {number: job.tasks[number] for number in state["live_tasks"]}
        for name, row in state["activations"]:
            live = _ACTIVATIONS[name].load(row)
            job.activations[live.id] = live
        job.ignored = {tuple(report) for report in state["ignored"]}
        job.orphans = dict(state["orphans"])
        job.emitted = set(state["emitted"])
        job.ended = None if state["ended"] is None else Status(state["ended"])
        for name, value in zip(_PLAIN, state["plain"], strict=True):
            setattr(job, name, value)


_OF_ANY_EVENT = ("originator_id", "originator_version", "timestamp")
