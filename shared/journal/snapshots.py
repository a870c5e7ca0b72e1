"""Snapshots: the state of an aggregate at some version, so that a long one is not folded from its beginning.

A snapshot is a cache and never truth. It names the commit that it was taken behind; whoever loads from it
reads that commit too and drops the snapshot when the two do not agree. It also names its encoding, which
changes with the code that folds events: a snapshot of other code is ignored, not misread.

As bytes: the SHA-256 of the rest, then the rest: JSON, deflated.
"""

import logging
import zlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

import orjson
from eventsourcing.domain import Aggregate

from shared.application.clock import from_us, to_us
from shared.application.ports import BrokenChain, JournalError, Recorded, StoredCommit
from shared.journal.codec import Codec, caught_up

A = TypeVar("A", bound=Aggregate)

FIRST_COMMITS = 128
"""A history of so many commits is folded as fast as a snapshot is found: none is looked for."""

log = logging.getLogger("daybook.journal.snapshots")


class BadSnapshot(JournalError):
    """A snapshot cannot be used; `why` is one word. Load from the first commit."""

    def __init__(self, why: str) -> None:
        super().__init__(f"a snapshot is not usable: {why}")
        self.why = why


class StateCodec(Protocol):
    """The state of one class of aggregates as JSON primitives, and back."""

    encoding: str
    """Differs whenever a state written by other code could mean something else."""

    def dump(self, aggregate: Any) -> object:
        """What orjson can write; it may share parts with the aggregate, so write it at once."""
        ...

    def load(self, aggregate: Any, state: Any) -> None:
        """Fill an aggregate that has nothing but its id, version and times."""
        ...


class SnapshotStore(Protocol):
    """Where snapshots lie, the newest of each aggregate. It may forget any of them at any time."""

    async def get(self, kind: str, id: UUID) -> bytes | None:  # noqa: A002
        """The snapshot of an aggregate, None when there is none. Raises JournalError."""
        ...

    async def put(self, snapshots: Mapping[tuple[str, UUID], bytes]) -> None:
        """Keep these, in place of older ones. Raises JournalError when one is not kept."""
        ...

    async def remove(self, keys: Collection[tuple[str, UUID]]) -> None:
        """Forget these. Raises JournalError."""
        ...


class Taken(NamedTuple):
    """A snapshot that nobody packed yet: no part of it is shared with the aggregate."""

    kind: str
    id: UUID
    version: int
    body: bytes

    def packed(self) -> bytes:
        """The bytes to store. Takes a millisecond for 100 kB, without Python's lock."""
        deflated = zlib.compress(self.body, 1)
        return sha256(deflated).digest() + deflated


@dataclass(frozen=True, slots=True)
class Kind:
    """A class of aggregates that snapshots are taken of."""

    kind: str
    states: StateCodec


class Snapshots:
    """Takes snapshots and finds them again, for those classes that it has a codec of."""

    def __init__(
        self, store: SnapshotStore, kinds: Mapping[type[Aggregate], Kind], first_commits: int = FIRST_COMMITS
    ) -> None:
        """A load looks for a snapshot when there are more than `first_commits` commits."""
        self.store = store
        self.first_commits = first_commits
        self._kinds = kinds
        self.counts: Counter[str] = Counter()
        """How often a load found one: `used`, `none`, or why it was dropped."""

    def of(self, cls: type[Aggregate]) -> bool:
        """Whether snapshots are taken of `cls`."""
        return cls in self._kinds

    def take(self, recorded: Recorded[Any]) -> Taken:
        """The state as it is now. The aggregate must hold nothing that is not stored yet."""
        aggregate = recorded.aggregate
        kind, states = self._parts(type(aggregate))
        body = orjson.dumps(
            {
                "encoding": states.encoding,
                "kind": kind,
                "id": str(aggregate.id),
                "version": aggregate.version,
                "sequence": recorded.sequence,
                "tip": recorded.tip.hex(),
                "created": to_us(aggregate.created_on),
                "modified": to_us(aggregate.modified_on),
                "state": states.dump(aggregate),
            }
        )
        return Taken(kind, aggregate.id, aggregate.version, body)

    async def find(self, cls: type[A], id: UUID) -> Recorded[A] | None:  # noqa: A002
        """What the snapshot of an aggregate says; None when there is none that can be read.

        It is not to be believed before the commit that it names was looked at.
        """
        kind, _ = self._parts(cls)
        try:
            raw = await self.store.get(kind, id)
        except JournalError as problem:
            log.warning("the snapshot of %s %s cannot be asked for: %s", kind, id, problem)
            raw = None
        if raw is None:
            self.counts["none"] += 1
            return None
        try:
            return self._read(cls, id, raw)
        except BadSnapshot as bad:
            self.dropped(kind, id, bad.why)
            return None

    def proved(
        self, codec: Codec, found: Recorded[A], at: StoredCommit | None, later: Sequence[StoredCommit]
    ) -> Recorded[A] | None:
        """What was found, brought up to now, if the journal bears it out; else None.

        `at` is the commit that is stored at its sequence, None when there is none; `later` those behind its
        version. The chain must run through it: it names the hash of `at`, and the first of `later` does too.
        """
        aggregate = found.aggregate
        kind, _ = self._parts(type(aggregate))
        if at is None or (at.kind, at.id, at.last_version) != (kind, aggregate.id, aggregate.version):
            self.dropped(kind, aggregate.id, "elsewhere")
            return None
        if at.digest != found.tip:
            self.dropped(kind, aggregate.id, "tip")
            return None
        try:
            recorded = caught_up(codec, found, later)
        except BrokenChain:  # whether the journal is at fault, the load from the first commit tells
            self.dropped(kind, aggregate.id, "chain")
            return None
        self.counts["used"] += 1
        log.info(
            "%s %s: %d commits since its snapshot at version %d",
            *(kind, aggregate.id, len(later), found.snapshot),
        )
        return recorded

    def dropped(self, kind: str, id: UUID, why: str) -> None:  # noqa: A002
        """A snapshot is of no use; the load goes from the first commit."""
        self.counts[why] += 1
        log.warning("%s %s: its snapshot is dropped: %s", kind, id, why)

    def _parts(self, cls: type[Aggregate]) -> tuple[str, StateCodec]:
        known = self._kinds[cls]
        return known.kind, known.states

    def _read(self, cls: type[A], id: UUID, raw: bytes) -> Recorded[A]:  # noqa: A002
        kind, states = self._parts(cls)
        digest, deflated = raw[:32], raw[32:]
        if sha256(deflated).digest() != digest:
            raise BadSnapshot("damaged")
        try:
            content = orjson.loads(zlib.decompress(deflated))
            if content["encoding"] != states.encoding:
                raise BadSnapshot("encoding")
            if (content["kind"], content["id"]) != (kind, str(id)):
                raise BadSnapshot("stranger")
            aggregate = cls.__new__(cls)
            aggregate.__base_init__(id, content["version"], from_us(content["created"]))
            aggregate.modified_on = from_us(content["modified"])
            states.load(aggregate, content["state"])
            tip = bytes.fromhex(content["tip"])
            return Recorded(aggregate, content["sequence"], tip, snapshot=content["version"])
        except (zlib.error, LookupError, TypeError, ValueError) as error:
            raise BadSnapshot("damaged") from error


class MemorySnapshots:
    """`SnapshotStore` as a dict."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, UUID], bytes] = {}

    async def get(self, kind: str, id: UUID) -> bytes | None:  # noqa: A002
        return self.kept.get((kind, id))

    async def put(self, snapshots: Mapping[tuple[str, UUID], bytes]) -> None:
        self.kept.update(snapshots)

    async def remove(self, keys: Collection[tuple[str, UUID]]) -> None:
        for key in keys:
            self.kept.pop(key, None)
