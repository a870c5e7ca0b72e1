"""The journal on JetStream: the one truth, in one stream."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from typing import TypeVar
from uuid import UUID

from eventsourcing.domain import Aggregate, AggregateEvent

from shared.application.ports import (
    Appended,
    BrokenChain,
    Decision,
    JournalUnavailable,
    Recorded,
    StoredCommit,
)
from shared.broker.connection import Connection
from shared.broker.errors import BrokerError
from shared.broker.publisher import Publisher
from shared.broker.streams import api, durability
from shared.broker.subjects import JOURNAL, aggregate_filter
from shared.journal.chain import verify
from shared.journal.codec import Codec, caught_up
from shared.journal.commits import Commits, Entry, MeasuredCommits, PipelinedCommits, messages_of
from shared.journal.follow import follow
from shared.journal.read import StoredMessage, read_after, read_aggregate, read_at, read_short
from shared.journal.snapshots import Snapshots

A = TypeVar("A", bound=Aggregate)


class JetStreamJournal:
    """`shared.application.ports.Journal` on the stream JOURNAL.

    Made by `JetStreamJournal.open`, or from a publisher that is already there. Use it on one event loop.
    """

    def __init__(
        self,
        publisher: Publisher,
        codec: Codec,
        *,
        sync_always: bool,
        timeout: float = 5.0,
        snapshots: Snapshots | None = None,
        gather_seconds: float = 0.0,
    ) -> None:
        """`sync_always` says that each write is synced, so that appends are grouped.

        An append, and each request of a load, ends within `timeout` seconds, whatever the broker does.
        Long aggregates are loaded from their `snapshots`; the journal only reads those. Who follows gets
        commits that come faster than each `gather_seconds` together.
        """
        self.publisher = publisher
        self.codec = codec
        self.sync_always = sync_always
        self.timeout = timeout
        self.snapshots = snapshots
        self.gather_seconds = gather_seconds
        self._connection = publisher.connection
        self._loop = asyncio.get_running_loop()
        self._commits: Commits = MeasuredCommits(publisher) if sync_always else PipelinedCommits(publisher)

    @classmethod
    async def open(
        cls,
        connection: Connection,
        events: Mapping[str, type[AggregateEvent]],
        kinds: Mapping[str, type[Aggregate]],
        *,
        sync_always: bool | None = None,
        timeout: float = 5.0,
    ) -> "JetStreamJournal":
        """A journal over `connection`. `sync_always` None asks the server for its policy."""
        if sync_always is None:
            sync_always = (await durability(connection)).sync_always
        publisher = await Publisher.start(connection, timeout=timeout)
        return cls(publisher, Codec(events, kinds), sync_always=sync_always, timeout=timeout)

    async def append(self, decision: Decision) -> Appended:
        stored, tip = self.submit(decision)
        return Appended(await stored, tip)

    def submit(self, decision: Decision) -> tuple[asyncio.Future[int], bytes]:
        """`append` without a task: the sequence to come (or its error), and the tip it will have."""
        commits = self.codec.encode(decision)
        if not commits:
            raise ValueError("a decision without events has nothing to store")
        messages = messages_of(commits)
        sizes = [len(commit.raw) for commit in commits]
        done: asyncio.Future[int] = self._loop.create_future()
        if max(sizes) > self._connection.max_payload - _HEADER_ROOM:
            done.set_exception(
                JournalUnavailable(f"{decision.kind} {decision.id}: a commit is larger than the broker takes")
            )
        else:
            deadline = self._loop.time() + self.timeout
            entry = Entry(decision.kind, decision.id, commits[0].n, messages, sum(sizes), deadline, done)
            self._commits.put(entry)
        return done, commits[-1].tip

    async def load(self, cls: type[A], id: UUID) -> Recorded[A] | None:  # noqa: A002
        kind = self.codec.kind_of(cls)
        short = None
        if self.snapshots is not None and self.snapshots.of(cls):
            short = await self._unless_long(kind, id, self.snapshots.first_commits)
            if short is None and (recorded := await self._from_snapshot(self.snapshots, cls, id)) is not None:
                return recorded
        commits = await self._read(kind, id, short)
        tip = verify(commits)
        aggregate = self.codec.fold(cls, commits)
        if aggregate is None or tip is None:
            return None
        return Recorded(aggregate, commits[-1].sequence, tip)

    async def catch_up(self, recorded: Recorded[A]) -> Recorded[A]:
        """Apply to an aggregate, in place, the commits that came since it was recorded.

        `recorded` may be as old as it likes: a snapshot is one that somebody kept. Raises BrokenChain when
        what is stored does not follow from it; then it is worth nothing, and `load` tells the truth.
        """
        kind, id, version = self._place(recorded.aggregate)  # noqa: A001
        try:
            messages = await read_after(self.publisher, aggregate_filter(kind, id), version, self.timeout)
        except BrokerError as error:
            raise JournalUnavailable(f"{kind} {id} cannot be read: {error}") from error
        commits = [self._decode(message) for message in messages]
        return caught_up(self.codec, recorded, commits)

    async def history(self, kind: str, id: UUID) -> list[StoredCommit]:  # noqa: A002
        commits = await self._read(kind, id)
        verify(commits)
        return commits

    def follow(self, after: int, kinds: Collection[str] = ()) -> AsyncIterator[list[StoredCommit]]:
        return follow(self._connection, self.codec, after, kinds, self.gather_seconds)

    async def last_sequence(self) -> int:
        try:
            answer = await api(self._connection, f"STREAM.INFO.{JOURNAL}", timeout=self.timeout)
        except BrokerError as error:
            raise JournalUnavailable(str(error)) from error
        state = answer["state"]
        return int(state["last_seq"]) if state["messages"] else 0  # a journal that was emptied counts on

    def _place(self, aggregate: Aggregate) -> tuple[str, UUID, int]:
        return self.codec.kind_of(type(aggregate)), aggregate.id, aggregate.version

    async def _unless_long(
        self,
        kind: str,
        id: UUID,  # noqa: A002
        most: int,
    ) -> list[StoredMessage] | None:
        """All commits of an aggregate if they are `most` or fewer, else None."""
        try:
            return await read_short(self.publisher, aggregate_filter(kind, id), most, self.timeout)
        except BrokerError as error:
            raise JournalUnavailable(f"{kind} {id} cannot be read: {error}") from error

    async def _from_snapshot(self, snapshots: Snapshots, cls: type[A], id: UUID) -> Recorded[A] | None:  # noqa: A002
        found = await snapshots.find(cls, id)
        if found is None:
            return None
        kind, _, version = self._place(found.aggregate)
        try:
            at, later = await asyncio.gather(
                read_at(self.publisher, found.sequence, self.timeout),
                read_after(self.publisher, aggregate_filter(kind, id), version, self.timeout),
            )
        except BrokerError as error:
            raise JournalUnavailable(f"{kind} {id} cannot be read: {error}") from error
        return snapshots.proved(
            self.codec, found, self._decode(at) if at else None, [self._decode(m) for m in later]
        )

    async def _read(
        self,
        kind: str,
        id: UUID,  # noqa: A002
        messages: list[StoredMessage] | None = None,
    ) -> list[StoredCommit]:
        """All commits of an aggregate; `messages` are given when they were read already."""
        try:
            subjects = aggregate_filter(kind, id)
            if messages is None:
                messages = await read_aggregate(self.publisher, subjects, self.timeout)
            if not messages and await self._is_stored(subjects):
                messages = await read_aggregate(self.publisher, subjects, self.timeout)
                if not messages:  # one message that cannot be read, and the broker says that there is none
                    raise BrokenChain(kind, id, 1, "it is stored and cannot be read")
        except BrokerError as error:
            raise JournalUnavailable(f"{kind} {id} cannot be read: {error}") from error
        return [self._decode(message) for message in messages]

    def _decode(self, message: StoredMessage) -> StoredCommit:
        return self.codec.decode(message.sequence, message.subject, message.data)

    async def _is_stored(self, subjects: str) -> bool:
        """Whether the stream knows messages under `subjects`, by its index alone."""
        question = {"subjects_filter": subjects}
        answer = await api(self._connection, f"STREAM.INFO.{JOURNAL}", question, timeout=self.timeout)
        return bool(answer["state"].get("subjects"))


_HEADER_ROOM = 1024
