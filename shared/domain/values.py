"""The small values that every part of the domain speaks in."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, Literal, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

LEAST_URGENT: Final = 0
NORMAL_URGENCY: Final = 500
MOST_URGENT: Final = 1000
"""Of urgencies the higher is released first, equal ones in the order of their arrival."""

DEFAULT_TENANT: Final = "default"
"""The tenant of the server's own credentials, of its blueprints and of its schedules."""

LONGEST_SECONDS: Final = 1e9
"""The longest span that anything may take, some 31 years: moments stay inside what a datetime can hold."""

ErrorKind = Literal["transient", "permanent", "invalid_input", "contract_violation", "timeout", "cancelled"]
ERROR_KINDS: Final[tuple[ErrorKind, ...]] = (
    "transient",
    "permanent",
    "invalid_input",
    "contract_violation",
    "timeout",
    "cancelled",
)

ENDINGS: Final = frozenset({"JobSucceeded", "JobFailed", "JobTimedOut", "JobCancelled", "JobQuarantined"})
"""The events of which exactly one ends a job."""


class Status(StrEnum):
    """Where a job stands. The last five are final."""

    PENDING = "pending"
    QUEUED = "queued"
    ASSIGNED = "assigned"
    RUNNING = "running"
    WAITING_CHILDREN = "waiting_children"
    WAITING_SIGNAL = "waiting_signal"
    RETRY_SCHEDULED = "retry_scheduled"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    QUARANTINED = "quarantined"


FINAL: Final = frozenset(
    {Status.SUCCEEDED, Status.FAILED, Status.TIMED_OUT, Status.CANCELLED, Status.QUARANTINED}
)


@dataclass(frozen=True, slots=True)
class TaskError:
    """Why a task, a node or a job failed.

    `kind` decides about retries; `code` is the reporter's own word; `port` names the edge that this
    error would rather follow than "failure".
    """

    kind: ErrorKind
    message: str = ""
    code: str | None = None
    details: Json = None
    port: str | None = None

    def to_json(self) -> dict[str, Json]:
        """The error as events carry it: fields without a value are left out."""
        document: dict[str, Json] = {"kind": self.kind, "message": self.message}
        if self.code is not None:
            document["code"] = self.code
        if self.details is not None:
            document["details"] = self.details
        if self.port is not None:
            document["port"] = self.port
        return document


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a worker's report; `reason` says why it was ignored (a word of `REASONS`)."""

    accepted: bool
    reason: str | None = None


REASONS: Final = ("unknown_job", "stale", "late", "cancelled", "finished", "foreign")
ACCEPTED: Final = Verdict(accepted=True)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def to_us(moment: datetime) -> int:
    """Microseconds since the epoch of an aware `moment`."""
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def span_us(span: timedelta) -> int:
    """A span in whole microseconds."""
    return (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds


def seconds_us(seconds: float) -> int:
    """Seconds in whole microseconds."""
    return round(seconds * 1_000_000)
