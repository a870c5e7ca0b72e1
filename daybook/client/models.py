"""What the API says, as plain values. Each keeps the whole answer in `raw`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

from daybook.errors import ApiError, api_error
from shared.domain.values import ENDINGS

ENDED = frozenset({"succeeded", "failed", "timed_out", "cancelled", "quarantined"})
"""The statuses of a job that has ended."""


class Retry(TypedDict, total=False):
    """How a failed task is tried again; what is left out is the server's default."""

    max_attempts: int
    base_seconds: float
    factor: float
    cap_seconds: float
    jitter: float
    when_exhausted: str
    quarantine: list[str]


class Concurrency(TypedDict):
    """At most `limit` tasks with the same `key` run at a time."""

    key: str
    limit: int


class Rate(TypedDict):
    """At most `limit` tasks with the same `key` are released in `per_seconds`."""

    key: str
    limit: int
    per_seconds: float


class JobOptions(TypedDict, total=False):
    """Everything a submit may say besides what to run and its input. `urgency` is 0 to 1000, higher first."""

    version: int
    urgency: int
    tags: Mapping[str, str]
    alias: str
    deadline_seconds: float
    dispatch_timeout_seconds: float
    run_timeout_seconds: float
    retry: Retry
    concurrency: Concurrency
    rate: Rate
    webhook_url: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job that was taken. `sequence` lets a later read see it (`min_sequence`)."""

    job_id: UUID
    sequence: int
    status: str


@dataclass(frozen=True, slots=True)
class Changed:
    """What a command came to. `changed` is False when it had been so before."""

    job_id: UUID
    sequence: int
    status: str
    changed: bool


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it was at `sequence`. Lists leave `input` and `output` out (None)."""

    job_id: UUID
    status: str
    input: Any
    output: Any
    error: Mapping[str, Any] | None
    progress: float | None
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    sequence: int
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def is_ended(self) -> bool:
        return self.status in ENDED

    @property
    def succeeded(self) -> bool:
        return self.status == "succeeded"


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a job's history. `version` counts 1, 2, 3, … within the job."""

    version: int
    type: str
    at: datetime
    by: str
    data: Mapping[str, Any]
    sequence: int

    @property
    def ends_job(self) -> bool:
        return self.type in ENDINGS


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker as the dispatcher last knew it: online, draining, left or lost."""

    worker_id: UUID
    name: str
    status: str
    skills: list[str]
    concurrency: int
    raw: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Workflow:
    """A published workflow and its newest version."""

    name: str
    version: int
    definition: str
    raw: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list; `next` is the cursor of the following one, None at the end."""

    items: list[Job]
    next: str | None


def submitted_of(answer: Mapping[str, Any]) -> Submitted:
    return Submitted(UUID(answer["job_id"]), answer["sequence"], answer["status"])


def item_of(answer: Mapping[str, Any]) -> Submitted | ApiError:
    """One item of a bulk answer."""
    problem = answer.get("error")
    if problem is not None and "job_id" not in answer:
        return api_error(int(problem.get("status") or 500), problem)
    return submitted_of(answer)


def changed_of(answer: Mapping[str, Any]) -> Changed:
    return Changed(UUID(answer["job_id"]), answer["sequence"], answer["status"], answer["changed"])


def job_of(answer: Mapping[str, Any]) -> Job:
    return Job(
        job_id=UUID(answer["job_id"]),
        status=answer["status"],
        input=answer.get("input"),
        output=answer.get("output"),
        error=answer.get("error"),
        progress=answer.get("progress"),
        created_at=_moment(answer.get("created_at")),
        started_at=_moment(answer.get("started_at")),
        ended_at=_moment(answer.get("ended_at")),
        sequence=answer.get("sequence", 0),
        raw=answer,
    )


def page_of(answer: Mapping[str, Any]) -> Page:
    return Page([job_of(item) for item in answer["items"]], answer.get("next"))


def event_of(answer: Mapping[str, Any]) -> Event:
    at = _moment(answer["at"])
    assert at is not None
    return Event(
        answer["version"],
        answer["type"],
        at,
        answer.get("by", ""),
        answer.get("data") or {},
        answer["sequence"],
    )


def worker_of(answer: Mapping[str, Any]) -> Worker:
    return Worker(
        UUID(answer["worker_id"]),
        answer["name"],
        answer["status"],
        list(answer.get("skills") or []),
        answer.get("concurrency", 0),
        answer,
    )


def workflow_of(answer: Mapping[str, Any]) -> Workflow:
    return Workflow(answer["name"], answer["version"], answer["definition"], answer)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
