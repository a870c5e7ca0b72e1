"""Watching jobs: one follower of the journal in this process, handing each commit to those who watch its job.

It follows only while somebody watches, and a little longer: a server that nobody watches pays nothing for it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from shared.application.ports import Journal, StoredCommit

log = logging.getLogger(__name__)

LINGER_SECONDS: Final = 30.0
MAX_BEHIND: Final = 10_000
"""Commits that wait for one slow reader before it is let go; it can resume from where it was."""


class WatchLost(Exception):
    """This watch sees no more: the reader was too slow, or the server stops. Read the history; watch anew."""


class Watch:
    """The coming commits of one job, from the moment it was made."""

    def __init__(self, job: UUID) -> None:
        self.job = job
        self._waiting: deque[StoredCommit] = deque()
        self._woken = asyncio.Event()
        self._lost = False

    async def next(self) -> list[StoredCommit]:
        """The next commits, at least one, in order. Raises WatchLost."""
        while not self._waiting:
            if self._lost:
                raise WatchLost
            self._woken.clear()
            await self._woken.wait()
        commits = list(self._waiting)
        self._waiting.clear()
        return commits

    def give(self, commit: StoredCommit) -> None:
        if len(self._waiting) >= MAX_BEHIND:
            self._waiting.clear()
            self._lost = True
        if not self._lost:
            self._waiting.append(commit)
        self._woken.set()

    def lose(self) -> None:
        self._lost = True
        self._woken.set()


class Follower:
    """The one follower of job commits in a process."""

    def __init__(self, journal: Journal, linger_seconds: float = LINGER_SECONDS) -> None:
        self._journal, self._linger = journal, linger_seconds
        self._watches: dict[UUID, set[Watch]] = {}
        self._task: asyncio.Task[None] | None = None
        self._starting: asyncio.Task[int] | None = None
        self._stop: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None
        self._closed = False

    @asynccontextmanager
    async def watch(self, job: UUID) -> AsyncIterator[Watch]:
        """Watch one job: every commit stored after this was entered comes, in order."""
        watch = Watch(job)
        self._watches.setdefault(job, set()).add(watch)
        try:
            if self._closed:
                watch.lose()
            else:
                await self._follow()
            yield watch
        finally:
            self._leave(watch)

    async def close(self) -> None:
        """End every watch and the following; a watch that is made later is lost from the start."""
        self._closed = True
        for watch in self._all():
            watch.lose()
        if self._stop is not None:
            self._stop.cancel()
        if self._task is not None:
            await _end(self._task)
        if self._ending is not None:
            await self._ending

    @property
    def watching(self) -> int:
        return sum(len(watches) for watches in self._watches.values())

    def _all(self) -> list[Watch]:
        return [watch for watches in self._watches.values() for watch in watches]

    def _leave(self, watch: Watch) -> None:
        watches = self._watches[watch.job]
        watches.discard(watch)
        if not watches:
            del self._watches[watch.job]
        if not self._watches and self._stop is None and not self._closed:
            self._stop = asyncio.get_running_loop().call_later(self._linger, self._idle)

    def _idle(self) -> None:
        self._stop = None
        if not self._watches and self._task is not None:
            self._ending = asyncio.create_task(_end(self._task))
            self._task = None

    async def _follow(self) -> None:
        if self._stop is not None:
            self._stop.cancel()
            self._stop = None
        if self._task is not None:
            return
        # Many may come first at once: all wait for the same answer, the first to get it starts.
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._journal.last_sequence())
        starting = self._starting
        try:
            after = await asyncio.shield(starting)
        finally:
            if starting.done() and self._starting is starting:
                self._starting = None
        self._start(after)

    def _start(self, after: int) -> None:
        if self._task is None and not self._closed:
            self._task = asyncio.create_task(self._run(after), name="follow-jobs")

    async def _run(self, after: int) -> None:
        watches = self._watches
        try:
            async for commits in self._journal.follow(after, ("job",)):
                for commit in commits:
                    for watch in watches.get(commit.id, ()):
                        watch.give(commit)
        except Exception:
            log.exception("following the journal broke; the watchers start again")
        finally:
            if self._task is asyncio.current_task():
                self._task = None
                for watch in self._all():
                    watch.lose()


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel a task until it is over.

    Once may not be enough: before Python 3.12 asyncio.wait_for loses a cancellation that comes together with
    its answer, and the broker's client waits with it.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=0.1)
