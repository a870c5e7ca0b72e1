"""A job's history in the dialect's words: one entry an event, with the journal's own gapless versions.

No token and no header of a request is in the journal, so none can be here.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from services.api.dialects.avtomatika.answers import shown
from shared.application.blueprint_jobs import BlueprintJob
from shared.application.blueprint_words import END, task_id
from shared.application.files import RECORDED
from shared.application.ids import derived_id
from shared.application.ports import StoredCommit

TYPES: Final = {
    "JobAccepted": "job_created",
    "HandlerAwaited": "state_started",
    "HandlerDecided": "state_finished",
    "HandlerFailed": "state_failed",
    "TaskReleased": "task_dispatched",
    "TaskSucceeded": "task_finished",
    "TaskFailed": "task_finished",
    "TaskTimedOut": "task_finished",
    "TaskCancelled": "task_finished",
    "TaskProgressed": "worker_event:progress",
    "JobSucceeded": "job_completed",
    "JobFailed": "job_failed",
    "JobTimedOut": "job_failed",
    "JobQuarantined": "job_failed",
}
"""What the documents name. Any other event goes by its own name, in lower case."""
FILE_OPERATION: Final = "s3_operation"
"""A handler moved a file; what, and how much, is the snapshot."""


def history_of(job_id: UUID, commits: Iterable[StoredCommit], first: int = 1) -> list[dict[str, Any]]:
    """The events of a job from the version `first` on, in order; `commits` are all of them."""
    job, since, entries = BlueprintJob(job_id), _Since(), []
    for commit in commits:
        for version, (topic, data) in enumerate(commit.events, commit.n):
            job.apply(topic, data, commit.at, commit.sequence)
            duration = since.duration(topic, data, commit.at)
            if version < first:
                continue
            state = _state(job, topic, data)
            entry = {
                "event_id": str(derived_id(job_id, f"event {version}")),
                "version": version,
                "job_id": str(job_id),
                "timestamp": _iso(commit.at),
                "state": state,
                "event_type": type_of(topic, data),
                **_details(job_id, state, topic, data),
                "duration_ms": duration,
                "context_snapshot": shown(job.state()),
            }
            if entry["event_type"] == FILE_OPERATION:
                entry["context_snapshot"] = entry.pop("payload")
            entries.append(shown(entry))
    return entries


def type_of(topic: str, data: Mapping[str, Any]) -> str:
    """The event's name in the dialect."""
    if topic == "EventEmitted":
        handlers = str(data.get("by", "")).startswith("handler:")
        return FILE_OPERATION if handlers and data["name"] == RECORDED else f"worker_event:{data['name']}"
    return TYPES.get(topic) or _WORD.sub("_", topic).lower()


def _state(job: BlueprintJob, topic: str, data: Mapping[str, Any]) -> str:
    if topic == "JobAccepted":
        return "pending"
    return str(data.get("node") or job.node or job.status).removesuffix(END)


def _details(job_id: UUID, state: str, topic: str, data: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"worker_id": data.get("worker")}
    number = data.get("task")
    if isinstance(number, int):
        attempt = data.get("attempt") or 1
        found["origin_task_id"], found["attempt_number"] = task_id(job_id, number, attempt), attempt
    match topic:
        case "HandlerAwaited":
            found["attempt_number"] = 1
        case "HandlerFailed":
            found["attempt_number"] = data.get("attempt", 1)
        case "HandlerDecided":
            found["next_state"] = _next(data["action"])
            found["previous_state"] = state
        case "EventEmitted":
            by = str(data.get("by", ""))
            found["worker_id"] = by.removeprefix("worker:") if by.startswith("worker:") else None
            found["payload"] = data.get("payload")
    error = data.get("error")
    if isinstance(error, dict):
        found["error"] = error
    return found


def _next(action: Mapping[str, Any]) -> str | None:
    node = action.get("node") if action.get("type") == "GoTo" else action.get("aggregate_into")
    return None if not isinstance(node, str) or node.endswith(END) else node


class _Since:
    """When handlers and tasks that run began, to tell how long they took."""

    def __init__(self) -> None:
        self._begun: dict[tuple[str, int], int] = {}

    def duration(self, topic: str, data: Mapping[str, Any], at: int) -> int | None:
        """Milliseconds, for an event that ends something."""
        match topic:
            case "HandlerAwaited":
                self._begun["handler", data["activation"]] = at
            case "TaskReleased" | "TaskClaimed":
                self._begun["task", data["task"]] = data.get("started_at") or at
            case "HandlerDecided" | "HandlerFailed":
                return self._ended("handler", data["activation"], at)
            case "TaskSucceeded" | "TaskFailed" | "TaskTimedOut" | "TaskCancelled":
                started = data.get("started_at")
                since = self._ended("task", data["task"], at)
                return since if started is None else max(0, at - started) // 1000
        return None

    def _ended(self, what: str, number: int, at: int) -> int | None:
        begun = self._begun.get((what, number))
        return None if begun is None else max(0, at - begun) // 1000


def _iso(us: int) -> str:
    return (_EPOCH + timedelta(microseconds=us)).isoformat(timespec="microseconds")


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_WORD: Final = re.compile(r"(?<!^)(?=[A-Z])")
