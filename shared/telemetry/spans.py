"""The trace is the history: one span an event, folded from the commits, away from what is in a hurry.

| span | from | to | parent |
|---|---|---|---|
| job accepted | its commit | its commit | the client's span, or the parent job's first |
| task released, queued, … | its commit | its commit | job accepted |
| task succeeded, failed, … | the start of the attempt, else its release | its commit | task released |
| the job's last event | when it was accepted | its commit | job accepted |
| every other event | its commit | its commit | job accepted |

A span is named after its event, the first of a job that a schedule made `Scheduler:Trigger:WORKFLOW`.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from shared.application.ports import StoredCommit
from shared.domain.values import ENDINGS
from shared.telemetry.ids import parent_span_id, span_id, trace_id

MAX_JOBS: Final = 50_000
"""Open jobs that are remembered; the spans of a forgotten one lose their length, never their place."""

_RELEASES: Final = frozenset({"TaskReleased", "TaskQueued"})
_TASK_ENDS: Final = frozenset({"TaskSucceeded", "TaskFailed", "TaskTimedOut", "TaskCancelled"})
_FAILURES: Final = frozenset({"TaskFailed", "TaskTimedOut", "JobFailed", "JobTimedOut", "JobQuarantined"})


@dataclass(frozen=True, slots=True)
class Span:
    """One event as a span. Times are microseconds since the epoch; ids are hex."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    start: int
    end: int
    failed: bool
    attributes: Mapping[str, str | int | float | bool]


@dataclass(slots=True)
class _Open:
    """What must be remembered of a job to place its spans."""

    trace: str
    accepted_at: int
    accepted_span: str
    tasks: dict[int, tuple[int, str]] = field(default_factory=dict)


class Spans:
    """Folds commits into spans. Commits of a job must come in order."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[UUID, _Open] = OrderedDict()

    def of(self, commit: StoredCommit) -> list[Span]:
        """The spans of a commit, one an event; none for aggregates that are not jobs."""
        if commit.kind != "job":
            return []
        return [
            self._span(commit, version, topic, data)
            for version, (topic, data) in enumerate(commit.events, commit.n)
        ]

    def _span(self, commit: StoredCommit, version: int, topic: str, data: Mapping[str, Any]) -> Span:
        own = span_id(commit.id, version)
        start = commit.at
        if topic == "JobAccepted":
            trace = data.get("trace")
            job = _Open(trace_id(commit.id, trace), commit.at, own)
            parent = parent_span_id(trace)
            self._remember(commit.id, job)
        else:
            job = self._jobs.get(commit.id) or _Open(commit.id.hex, commit.at, span_id(commit.id, 1))
            parent = job.accepted_span
            task = data.get("task")
            if topic in _RELEASES and task is not None:
                job.tasks[task] = (commit.at, own)
            elif topic in _TASK_ENDS and task in job.tasks:
                released_at, parent = job.tasks[task]
                start = min(commit.at, data.get("started_at") or released_at)
            elif topic in ENDINGS:
                start = job.accepted_at
                self._jobs.pop(commit.id, None)
        return Span(
            job.trace,
            own,
            parent,
            _name(topic, data),
            start,
            commit.at,
            topic in _FAILURES,
            _attributes(commit, version, data),
        )

    def _remember(self, id: UUID, job: _Open) -> None:  # noqa: A002
        self._jobs[id] = job
        if len(self._jobs) > MAX_JOBS:
            self._jobs.popitem(last=False)


def _name(topic: str, data: Mapping[str, Any]) -> str:
    """The event's name; where a schedule began the job, what operators of schedules look for."""
    if topic == "JobAccepted" and data.get("trigger") == "schedule":
        return f"Scheduler:Trigger:{data.get('workflow') or data.get('skill')}"
    return topic


_SHOWN: Final = {
    "workflow": "daybook.workflow",
    "skill": "daybook.skill",
    "node": "daybook.node",
    "task": "daybook.task",
    "attempt": "daybook.attempt",
    "worker": "daybook.worker",
    "tenant": "daybook.tenant",
    "reason": "daybook.reason",
}


def _attributes(
    commit: StoredCommit, version: int, data: Mapping[str, Any]
) -> dict[str, str | int | float | bool]:
    """What a span says of its event; inputs, outputs and messages of errors stay out, they may be secret."""
    attributes: dict[str, str | int | float | bool] = {
        "daybook.job": str(commit.id),
        "daybook.version": version,
        "daybook.sequence": commit.sequence,
        "daybook.by": commit.by,
    }
    for name, shown in _SHOWN.items():
        value = data.get(name)
        if isinstance(value, str | int | float | bool):
            attributes[shown] = value
    return attributes
