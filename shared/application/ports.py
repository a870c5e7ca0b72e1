"""What the application needs from outside, as Protocols; `shared.journal` and others implement them."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Generic, NamedTuple, Protocol, TypeVar
from uuid import UUID

import msgspec
from eventsourcing.domain import Aggregate, AggregateEvent

A = TypeVar("A", bound=Aggregate)


class Decision(NamedTuple):
    """The events of one decision about one aggregate, to be stored together or not at all.

    `prev` is the SHA-256 of the aggregate's last stored commit, None for its first; `by` names who
    made it happen ("client:…", "worker:…", "system:dispatcher").
    """

    kind: str
    id: UUID
    events: Sequence[AggregateEvent]
    by: str
    prev: bytes | None = None


class Appended(NamedTuple):
    """Where a decision was stored: the stream sequence and the SHA-256 of its last commit."""

    sequence: int
    tip: bytes


@dataclass(frozen=True, slots=True)
class Recorded(Generic[A]):
    """An aggregate as its stored commits give it, with the sequence and SHA-256 of the last of them.

    `snapshot` is the version of the snapshot that it was loaded from, 0 when it was folded from all commits.
    """

    aggregate: A
    sequence: int
    tip: bytes
    snapshot: int = field(default=0, compare=False)


class StoredCommit(msgspec.Struct, frozen=True):
    """One commit as it stands in the journal. A Struct, because every process makes one of each commit.

    `n` is the version of its first event; `at` is microseconds since the epoch, UTC; `events` are
    (topic, fields) pairs, brought up to today's class versions; `raw` is the stored bytes, over which
    the hash chain runs; `skill` is the token of the skill whose queue the commit feeds, if it does.
    """

    sequence: int
    kind: str
    id: UUID
    n: int
    at: int
    by: str
    events: Sequence[tuple[str, Mapping[str, Any]]]
    raw: bytes
    skill: str | None = None

    @property
    def last_version(self) -> int:
        """The version of the aggregate after this commit."""
        return self.n + len(self.events) - 1

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the stored bytes: what the next commit of the aggregate points back to."""
        return sha256(self.raw).digest()


class Journal(Protocol):
    """The only memory: commits in, commits out."""

    async def append(self, decision: Decision) -> Appended:
        """Store a decision durably.

        Raises VersionConflict when another writer extended the aggregate first (load and decide again),
        UnknownOutcome when no answer came (load: it may be stored or not), JournalUnavailable when the
        journal surely refused it.
        """
        ...

    def submit(self, decision: Decision) -> "tuple[asyncio.Future[int], bytes]":
        """`append` without waiting: the stream sequence to come (or its error), and the tip it will have."""
        ...

    async def load(self, cls: type[A], id: UUID) -> Recorded[A] | None:  # noqa: A002
        """The aggregate folded from all its commits, or None when there is none."""
        ...

    async def history(self, kind: str, id: UUID) -> list[StoredCommit]:  # noqa: A002
        """All commits of one aggregate in order; empty when there is none."""
        ...

    def follow(self, after: int, kinds: Collection[str] = ()) -> AsyncIterator[list[StoredCommit]]:
        """Commits behind stream sequence `after`, in order and without a gap, in natural batches, for ever.

        `kinds` limits it to some kinds of aggregate; empty means all.
        """
        ...

    async def last_sequence(self) -> int:
        """The stream sequence of the newest commit, 0 when there is none."""
        ...


class JournalError(Exception):
    """The journal could not do it.

    JournalError
    ├── VersionConflict      another writer was first: load again and decide again
    ├── UnknownOutcome       no answer: it may be stored or not; load before deciding again
    ├── JournalUnavailable   surely not stored; try later
    └── BrokenChain          what is stored is not what was written
    """


class VersionConflict(JournalError):
    """Another writer extended the aggregate first. Load again and decide again."""

    def __init__(self, kind: str, id: UUID, n: int) -> None:  # noqa: A002
        super().__init__(f"{kind} {id} has a commit at version {n} already")
        self.kind, self.id, self.n = kind, id, n


class UnknownOutcome(JournalError):
    """The journal did not answer in time. Load again: the decision may be stored or not."""

    def __init__(self, kind: str, id: UUID, n: int) -> None:  # noqa: A002
        super().__init__(f"no answer for {kind} {id} at version {n}")
        self.kind, self.id, self.n = kind, id, n


class JournalUnavailable(JournalError):
    """The journal refused the decision, for a reason that is not the decision's. Try later."""


class BrokenChain(JournalError):
    """A stored commit does not follow from the one before it."""

    def __init__(self, kind: str, id: UUID, n: int, why: str) -> None:  # noqa: A002
        super().__init__(f"{kind} {id} breaks at version {n}: {why}")
        self.kind, self.id, self.n, self.why = kind, id, n, why
