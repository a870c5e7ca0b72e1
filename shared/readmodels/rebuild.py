"""Building the read model anew beside the served one, proving both equal, and swapping.

The new store is folded from sequence 0 while the old one is served and goes on. Both are compared at one
position: the live projector stands still only while a snapshot of each is opened, not while rows are read.
What was rebuilt is right by definition, so it is served also when the two differ; the difference is told.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass
from typing import Literal, Protocol

from shared.application.ports import Journal, StoredCommit
from shared.readmodels import queries
from shared.readmodels.database import Database, Session
from shared.readmodels.digest import Difference, digest, first_difference
from shared.readmodels.projection import Projection

REPORT_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: `position` of `target` while replaying, rows of both stores while comparing."""

    phase: Literal["replaying", "comparing", "swapping"]
    done: int
    target: int


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What came of it. `position` is where the two were compared; `difference` None means equal."""

    position: int
    served_digest: str
    rebuilt_digest: str
    difference: Difference | None
    swapped: bool
    seconds: float

    @property
    def equal(self) -> bool:
        return self.served_digest == self.rebuilt_digest


class Live(Protocol):
    """The projector that writes the served store meanwhile."""

    @property
    def position(self) -> int: ...

    def halted(self) -> AbstractAsyncContextManager[None]:
        """Inside, it is between two transactions."""
        ...

    def reopen(self, swap: Callable[[], None]) -> None:
        """Close its session, call `swap`, and go on with the store that is served then. While halted only."""
        ...


async def rebuild(
    database: Database,
    journal: Journal,
    live: Live,
    tell: Callable[[Progress], Awaitable[None]],
    *,
    swap: bool = True,
) -> Rebuilt:
    """Rebuild, compare and, if `swap`, serve the new store. `tell` is awaited some times a second.

    If anything fails, the served store stays what it was and the new one is thrown away.
    """
    begun = time.monotonic()
    session = await asyncio.to_thread(database.beside)
    feed = _Feed(journal)
    try:
        projection = Projection(session)
        await _catch_up(projection, feed, live, tell)
        with ExitStack() as stack:
            async with live.halted():
                at = live.position
                await _replay(projection, feed, at, tell)
                served = stack.enter_context(_Reading(database.reader()))
                assert queries.position(served) == at == projection.position, "both stand at one position"
            digests = await _compare(served, session, tell)
            difference = None
            if digests[0] != digests[1]:
                difference = await asyncio.to_thread(_differ, served, session)
        if swap:
            await _catch_up(projection, feed, live, tell)
            async with live.halted():
                await tell(Progress("swapping", live.position, live.position))
                await _replay(projection, feed, live.position, tell)
                session.close()
                live.reopen(database.swap)
        return Rebuilt(at, *digests, difference, swap, time.monotonic() - begun)
    finally:
        await feed.close()
        session.close()
        await asyncio.to_thread(database.drop_beside)


class _Feed:
    """The journal from its first commit on, handed out up to a sequence at a time."""

    def __init__(self, journal: Journal) -> None:
        self._batches: AsyncIterator[list[StoredCommit]] = journal.follow(0)
        self._waiting: list[StoredCommit] = []

    async def up_to(self, sequence: int) -> list[StoredCommit]:
        """The next commits at or before `sequence`. Waits for one; empty when the next is behind it."""
        if not self._waiting:
            self._waiting = await anext(self._batches)
        ready = [commit for commit in self._waiting if commit.sequence <= sequence]
        self._waiting = self._waiting[len(ready) :]
        return ready

    async def close(self) -> None:
        aclose = getattr(self._batches, "aclose", None)
        if aclose is not None:
            await aclose()


class _Reading:
    """A session in a snapshot, as one thing to leave."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._snapshot = session.snapshot()

    def __enter__(self) -> Session:
        self._snapshot.__enter__()
        return self._session

    def __exit__(self, *raised: object) -> None:
        self._snapshot.__exit__(None, None, None)
        self._session.close()


async def _catch_up(
    projection: Projection, feed: _Feed, live: Live, tell: Callable[[Progress], Awaitable[None]]
) -> None:
    """Replay until so little is left that the live projector can wait for it, or no round gets closer."""
    behind, before = live.position - projection.position, 0
    while behind > 1000 and (not before or behind < before * 0.75):
        await _replay(projection, feed, live.position, tell)
        behind, before = live.position - projection.position, behind


async def _replay(
    projection: Projection, feed: _Feed, target: int, tell: Callable[[Progress], Awaitable[None]]
) -> None:
    told = 0.0
    while projection.position < target:
        commits = await feed.up_to(target)
        assert commits, "the journal has a commit at the live position"
        # In a thread: the loop stays free for the live projector.
        await asyncio.to_thread(projection.project, commits)
        if time.monotonic() - told > REPORT_SECONDS:
            told = time.monotonic()
            await tell(Progress("replaying", projection.position, target))


async def _compare(
    served: Session, rebuilt: Session, tell: Callable[[Progress], Awaitable[None]]
) -> tuple[str, str]:
    jobs = await asyncio.to_thread(lambda: sum(queries.counts(served).values()))
    done = 0
    abandoned = threading.Event()

    def count(rows: int) -> None:
        nonlocal done
        done = rows
        if abandoned.is_set():
            raise TimeoutError("the comparison was given up")

    def work() -> tuple[str, str]:
        first = digest(served, count)
        with rebuilt.snapshot():
            return first, digest(rebuilt, lambda rows: count(jobs + rows))

    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        while not working.done():
            await tell(Progress("comparing", min(done, 2 * jobs), 2 * jobs))
            await asyncio.wait({working}, timeout=REPORT_SECONDS)
    finally:
        # The sessions are closed next: no thread may be reading them then.
        abandoned.set()
        await asyncio.wait({working})
    return working.result()


def _differ(served: Session, rebuilt: Session) -> Difference | None:
    with rebuilt.snapshot():
        return first_difference(served, rebuilt)
