"""What the client wrote down: which jobs it asked for, and which the system acknowledged."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Order:
    """A job to ask for, and how it must end: with which status and, if it succeeds, which output.

    With `cancel_after` it is cancelled so many seconds after its acknowledgement.
    """

    key: str
    request: dict[str, Any]
    status: str = "succeeded"
    output: Any = None
    cancel_after: float | None = None


@dataclass(slots=True)
class Entry:
    """What became of an order. `acknowledged_us` is None as long as no answer with an id came."""

    order: Order
    tries: int = 0
    job: UUID | None = None
    acknowledged_us: int | None = None


@dataclass
class Ledger:
    """The client's own memory, in a file as well, so that a run that broke off can be looked at.

    `complaints` are answers that no fault explains: a refusal, or a second id for the same key.
    """

    path: Path | None = None
    entries: dict[str, Entry] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    def sent(self, order: Order) -> None:
        self.entries.setdefault(order.key, Entry(order)).tries += 1
        self._write(what="sent", key=order.key)

    def acknowledged(self, key: str, job: UUID) -> None:
        entry = self.entries[key]
        if entry.job is not None and entry.job != job:
            self.complaints.append(f"{key} was acknowledged as {entry.job} and then as {job}")
        entry.job, entry.acknowledged_us = job, time.time_ns() // 1000
        self._write(what="acknowledged", key=key, job=str(job))

    def refused(self, key: str, status: int, answer: str) -> None:
        self.complaints.append(f"{key} was refused with {status}: {answer[:200]}")
        self._write(what="refused", key=key, status=status, answer=answer)

    @property
    def acknowledged_jobs(self) -> dict[UUID, Entry]:
        return {entry.job: entry for entry in self.entries.values() if entry.job is not None}

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries.values())

    def _write(self, **line: Any) -> None:
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps({"at": time.time_ns() // 1000, **line}) + "\n")
