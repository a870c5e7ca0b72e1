"""What a job looks like from outside: one mutable row, folded from its events.

The projector stores these rows and the API folds the same rows for those who wait for a job, so both
show the same. The fold reads (topic, fields) pairs as the journal stores them and knows no domain object.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Final

import msgspec

from shared.application.summary_fold import FOLDS, OpenTask

TERMINAL: Final = frozenset({"succeeded", "failed", "timed_out", "cancelled", "quarantined"})
OPEN: Final = (
    "pending",
    "queued",
    "assigned",
    "running",
    "waiting_children",
    "waiting_signal",
    "retry_scheduled",
    "paused",
)
STATUSES: Final = (*OPEN, "succeeded", "failed", "timed_out", "cancelled", "quarantined")


Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""What a column of a database takes."""


class UnknownEvent(Exception):
    """No fold is known for this topic: it was written by a newer release, or is not an event of ours."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"unknown event {topic!r}")
        self.topic = topic


class JobSummary(msgspec.Struct, omit_defaults=True, gc=False):
    """All that the read model knows of one job. Times are microseconds since the epoch, UTC.

    `sequence` is the stream sequence of the job's newest commit and `first_sequence` of its first;
    `version_of_job` counts its events. `dues` names every open deadline: "deadline" (the job's), "waiting-T"
    (task T must be taken), "run-T", "lease-T", "retry-T" and "wait-A" (activation A).
    """

    id: str
    tenant: str = ""
    owner: str = ""
    workflow: str | None = None
    version: int | None = None
    definition: str = ""
    skill: str | None = None
    alias: str | None = None
    origin: str = "native"
    trigger: str = "api"
    status: str = "pending"
    urgency: int = 500
    tags: dict[str, str] = msgspec.field(default_factory=dict)
    input: Any = None
    output: Any = None
    error: dict[str, Any] | None = None
    progress: float | None = None
    progress_message: str | None = None
    created_at: Integer = 0
    queued_at: int | None = None
    started_at: int | None = None
    ended_at: int | None = None
    attempts: int = 0
    retries: int = 0
    worker: str | None = None
    parent: dict[str, Any] | None = None
    children: int = 0
    retry_of: str | None = None
    webhook_url: str | None = None
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    first_sequence: int = 0
    sequence: int = 0
    version_of_job: int = 0
    deadline: int | None = None
    paused: bool = False
    dues: dict[str, Integer] = msgspec.field(default_factory=dict)
    tasks: dict[int, OpenTask] = msgspec.field(default_factory=dict)
    waits: dict[int, str] = msgspec.field(default_factory=dict)
    running_children: dict[int, str] = msgspec.field(default_factory=dict)
    handlers: dict[int, str] = msgspec.field(default_factory=dict)
    # The task that failed last: a retry follows in the same decision and does not repeat what is known of it.
    failed_task: OpenTask | None = None

    def apply(self, topic: str, data: Mapping[str, Any], at_us: int, sequence: int) -> None:
        """Fold one event. Raises UnknownEvent, and KeyError or TypeError when fields are missing or wrong."""
        fold = FOLDS.get(topic)
        if fold is None:
            raise UnknownEvent(topic)
        self.sequence = sequence
        self.version_of_job += 1
        fold(self, data, at_us)

    @property
    def is_ended(self) -> bool:
        return self.ended_at is not None

    @property
    def due_at(self) -> int | None:
        """When somebody must look at this job again, None when nothing is open that can expire."""
        return min(self.dues.values()) if self.dues else None

    @property
    def nodes(self) -> list[str]:
        """The names of the nodes where the job is now, each once, in order."""
        names = {task.node for task in self.tasks.values()}
        names.update(self.waits.values(), self.running_children.values(), self.handlers.values())
        return sorted(names)

    @property
    def held(self) -> list[OpenTask]:
        """Tasks that wait for the dispatcher to release them."""
        return [task for task in self.tasks.values() if task.phase == "held"]

    @property
    def released(self) -> list[OpenTask]:
        """Tasks that are a worker's to take or to end."""
        return [task for task in self.tasks.values() if task.phase not in ("held", "retrying")]

    def to_public(self) -> dict[str, Any]:
        """The job as the API shows it: ISO-8601 times, ids as text."""
        return {
            "job_id": self.id,
            "status": self.status,
            "workflow": self.workflow,
            "version": self.version,
            "definition": self.definition or None,
            "skill": self.skill,
            "alias": self.alias,
            "tenant": self.tenant,
            "owner": self.owner,
            "origin": self.origin,
            "trigger": self.trigger,
            "urgency": self.urgency,
            "tags": self.tags,
            "input": self.input,
            "output": self.output,
            "error": self.error,
            "progress": self.progress,
            "progress_message": self.progress_message,
            "created_at": iso(self.created_at),
            "queued_at": iso(self.queued_at),
            "started_at": iso(self.started_at),
            "ended_at": iso(self.ended_at),
            "deadline": iso(self.deadline),
            "attempts": self.attempts,
            "retries": self.retries,
            "worker": self.worker,
            "nodes": self.nodes,
            "parent": self.parent,
            "children": self.children,
            "retry_of": self.retry_of,
            "webhook_url": self.webhook_url,
            "metadata": self.metadata,
            "sequence": self.sequence,
        }


class WorkerSummary(msgspec.Struct, omit_defaults=True):
    """A worker as its events tell of it. `status` is online, draining, left or lost.

    A worker that falls silent is lost only once the dispatcher has recorded it.
    """

    id: str
    name: str = ""
    status: str = "online"
    skills: list[str] = msgspec.field(default_factory=list)
    concurrency: int = 1
    labels: dict[str, Any] = msgspec.field(default_factory=dict)
    instance: str | None = None
    registered_at: int = 0
    updated_at: int = 0
    sequence: int = 0

    def apply(self, topic: str, data: Mapping[str, Any], at_us: int, sequence: int) -> None:
        """Fold one event. Raises UnknownEvent, and KeyError when fields are missing."""
        status = _WORKER_STATUS.get(topic)
        if status is None:
            raise UnknownEvent(topic)
        if topic in ("WorkerRegistered", "WorkerChanged"):
            self.name = data.get("name", self.name)
            self.skills = list(data.get("skills", self.skills))
            self.concurrency = data.get("concurrency", self.concurrency)
            self.labels = data.get("labels") or {}
            self.instance = data.get("instance", self.instance)
        if topic == "WorkerRegistered":
            self.registered_at = at_us
        if topic != "WorkerChanged":
            self.status = status
        self.updated_at, self.sequence = at_us, sequence

    def to_public(self) -> dict[str, Any]:
        """The worker as the API shows it."""
        return {
            "worker_id": self.id,
            "name": self.name,
            "status": self.status,
            "skills": self.skills,
            "concurrency": self.concurrency,
            "labels": self.labels,
            "instance": self.instance,
            "registered_at": iso(self.registered_at),
            "updated_at": iso(self.updated_at),
            "sequence": self.sequence,
        }


_WORKER_STATUS: Final = {
    "WorkerRegistered": "online",
    "WorkerChanged": "online",
    "WorkerDraining": "draining",
    "WorkerLeft": "left",
    "WorkerLost": "lost",
}


class WorkflowVersion(msgspec.Struct, omit_defaults=True):
    """One published version: its number, the content hash of its graph, and when it was published."""

    version: int
    definition: str
    published_at: int


class WorkflowSummary(msgspec.Struct, omit_defaults=True):
    """A workflow's published versions, oldest first. The graphs stay in the journal, under its id."""

    id: str
    tenant: str = ""
    name: str = ""
    versions: list[WorkflowVersion] = msgspec.field(default_factory=list)
    origin: str = "native"
    deleted: bool = False
    updated_at: int = 0
    sequence: int = 0

    def apply(self, topic: str, data: Mapping[str, Any], at_us: int, sequence: int) -> None:
        """Fold one event. Raises UnknownEvent, and KeyError when fields are missing."""
        if topic == "WorkflowPublished":
            self.name = data["name"]
            self.tenant = data.get("tenant", "")
            self.origin = data.get("origin", "native")
            self.versions.append(WorkflowVersion(data["version"], data["definition"], at_us))
            self.deleted = False
        elif topic == "WorkflowDeleted":
            self.deleted = True
        else:
            raise UnknownEvent(topic)
        self.updated_at, self.sequence = at_us, sequence

    @property
    def newest(self) -> int | None:
        return self.versions[-1].version if self.versions else None

    def to_public(self) -> dict[str, Any]:
        """The workflow as the API shows it."""
        newest = self.versions[-1] if self.versions else None
        return {
            "name": self.name,
            "tenant": self.tenant,
            "version": newest.version if newest else None,
            "definition": newest.definition if newest else None,
            "versions": [
                {"version": v.version, "definition": v.definition, "published_at": iso(v.published_at)}
                for v in self.versions
            ],
            "origin": self.origin,
            "updated_at": iso(self.updated_at),
            "sequence": self.sequence,
        }


def iso(us: int | None) -> str | None:
    """`YYYY-MM-DDTHH:MM:SS.ffffffZ` of microseconds since the epoch."""
    if us is None:
        return None
    seconds, below = divmod(us, 1_000_000)
    return f"{_to_the_second(seconds)}.{below:06d}Z"


@lru_cache(maxsize=1024)
def _to_the_second(seconds: int) -> str:
    """The times of a job lie close together, so most of their seconds were asked for before."""
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:-6]


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
