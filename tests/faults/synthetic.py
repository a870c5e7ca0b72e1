"""Histories made by hand, in the stored format, for the tests of the rules."""

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tests.faults.history import History, history_of

Fields = dict[str, Any]


@dataclass
class Stream:
    """A stream in memory that commits are written to as a correct system would write them."""

    messages: list[tuple[int, str, bytes]] = field(default_factory=list)
    tips: dict[UUID, tuple[int, str | None]] = field(default_factory=dict)
    now_us: int = 1_763_697_600_000_000

    def commit(self, job: UUID, *events: tuple[str, Fields], at_us: int | None = None) -> None:
        """Append one commit of a job; it goes to a queue if its last event releases a task."""
        self.now_us += 1000
        n, prev = self.tips.get(job, (1, None))
        body = {
            "id": str(job),
            "kind": "job",
            "n": n,
            "at": at_us or self.now_us,
            "by": "test",
            "prev": prev,
            "events": [list(event) for event in events],
        }
        raw = json.dumps(body, separators=(",", ":")).encode()
        topic, fields = events[-1]
        rest = f"run.{fields['skill']}" if topic == "TaskReleased" else "note"
        self.messages.append((len(self.messages) + 1, f"journal.job.{token(job)}.{n}.{rest}", raw))
        self.tips[job] = (n + len(events), hashlib.sha256(raw).hexdigest())

    @property
    def history(self) -> History:
        return history_of(self.messages)


def token(id_: UUID) -> str:
    """The id as a subject holds it: base32hex, lower case, unpadded."""
    return base64.b32hexencode(id_.bytes).decode().rstrip("=").lower()


def released(task: int = 1, attempt: int = 1) -> tuple[str, Fields]:
    return "TaskReleased", {"task": task, "attempt": attempt, "skill": "add"}


def succeeded(task: int = 1, attempt: int = 1) -> tuple[str, Fields]:
    return "TaskSucceeded", {"task": task, "attempt": attempt, "worker": "w1"}


ACCEPTED: tuple[str, Fields] = ("JobAccepted", {"skill": "add"})
JOB_SUCCEEDED: tuple[str, Fields] = ("JobSucceeded", {"output": {"x": 1}})
