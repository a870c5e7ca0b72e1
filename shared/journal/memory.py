"""The journal in memory, with the whole contract: for tests and for trying things out."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from typing import TypeVar
from uuid import UUID

from eventsourcing.domain import Aggregate, AggregateEvent

from shared.application.ports import Appended, Decision, Recorded, StoredCommit, VersionConflict
from shared.journal.chain import tip_of, verify
from shared.journal.codec import Codec, caught_up
from shared.journal.snapshots import Snapshots

A = TypeVar("A", bound=Aggregate)

LARGEST_BATCH = 1024


class MemoryJournal:
    """`shared.application.ports.Journal` as a list. Use it on one event loop."""

    def __init__(
        self,
        events: Mapping[str, type[AggregateEvent]],
        kinds: Mapping[str, type[Aggregate]],
        snapshots: Snapshots | None = None,
    ) -> None:
        """`events` maps topic to event class, `kinds` the kind in a subject to the aggregate's class."""
        self.codec = Codec(events, kinds)
        self.snapshots = snapshots
        self.commits: list[StoredCommit] = []
        """All commits, in order: sequence 1 first."""
        self._of: dict[tuple[str, UUID], list[StoredCommit]] = {}
        self._followers: set[asyncio.Event] = set()

    async def append(self, decision: Decision) -> Appended:
        stored, tip = self.submit(decision)
        return Appended(await stored, tip)

    def submit(self, decision: Decision) -> tuple[asyncio.Future[int], bytes]:
        """`append` at once: the sequence (or the error) in a future that is done, and the tip."""
        commits = self.codec.encode(decision)
        if not commits:
            raise ValueError("a decision without events has nothing to store")
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        stored = self._of.setdefault((decision.kind, decision.id), [])
        if any(commit.n == commits[0].n for commit in stored):
            done.set_exception(VersionConflict(decision.kind, decision.id, commits[0].n))
            return done, commits[-1].tip
        for commit in commits:
            record = self.codec.decode(len(self.commits) + 1, commit.subject, commit.raw)
            self.commits.append(record)
            stored.append(record)
        for follower in self._followers:
            follower.set()
        done.set_result(len(self.commits))
        return done, commits[-1].tip

    async def load(self, cls: type[A], id: UUID) -> Recorded[A] | None:  # noqa: A002
        kind = self.codec.kind_of(cls)
        known = self._of.get((kind, id), ())
        if (
            self.snapshots is not None
            and self.snapshots.of(cls)
            and len(known) > self.snapshots.first_commits
        ):
            found = await self.snapshots.find(cls, id)
            if found is not None:
                later = [commit for commit in known if commit.n > found.aggregate.version]
                at = next((commit for commit in known if commit.sequence == found.sequence), None)
                recorded = self.snapshots.proved(self.codec, found, at, later)
                if recorded is not None:
                    return recorded
        commits = await self.history(kind, id)
        aggregate = self.codec.fold(cls, commits)
        if aggregate is None:
            return None
        return Recorded(aggregate, commits[-1].sequence, tip_of(commits[-1].raw))

    async def catch_up(self, recorded: Recorded[A]) -> Recorded[A]:
        """Apply to an aggregate, in place, the commits that came since it was recorded."""
        aggregate = recorded.aggregate
        commits = await self.history(self.codec.kind_of(type(aggregate)), aggregate.id)
        return caught_up(self.codec, recorded, [commit for commit in commits if commit.n > aggregate.version])

    async def history(self, kind: str, id: UUID) -> list[StoredCommit]:  # noqa: A002
        commits = list(self._of.get((kind, id), ()))
        verify(commits)
        return commits

    async def follow(self, after: int, kinds: Collection[str] = ()) -> AsyncIterator[list[StoredCommit]]:
        news = asyncio.Event()
        self._followers.add(news)
        try:
            while True:
                news.clear()
                new = self.commits[after : after + LARGEST_BATCH]
                after += len(new)
                batch = [commit for commit in new if not kinds or commit.kind in kinds]
                if batch:
                    yield batch
                if not new:
                    await news.wait()
        finally:
            self._followers.discard(news)

    async def last_sequence(self) -> int:
        return len(self.commits)
