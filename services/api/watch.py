"""Watching jobs: one follower of the journal in this process, handing each commit to those who watch its job.

It follows only while somebody watches, and a little longer: a server that nobody watches pays nothing for it.
"""

import asyncio
import logging
from typing import Final, Self
from uuid import UUID

from shared.application.ports import Journal, StoredCommit

log = logging.getLogger(__name__)

LINGER_SECONDS: Final = 2.0
MAX_BEHIND: Final = 10_000
"""Commits that wait for one slow reader before it is let go; it can resume from where it was."""


class WatchLost(Exception):
    """This watch sees no more: the reader was too slow, or the server stops. Read the history; watch anew."""


class Watch:
    """The coming commits of one job: entered, it sees every commit that is stored from then on, in order."""

    __slots__ = ("_follower", "_lost", "_waiting", "_woken", "job")

    def __init__(self, follower: "Follower", job: UUID) -> None:
        self.job = job
        self._follower = follower
        self._waiting: list[StoredCommit] = []
        self._woken: asyncio.Future[None] | None = None
        self._lost = False

    async def __aenter__(self) -> Self:
        try:
            await self._follower.enter(self)
        except BaseException:
            self._follower.leave(self)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._follower.leave(self)

    async def next(self) -> list[StoredCommit]:
        """The next commits, at least one, in order. Raises WatchLost."""
        while not self._waiting:
            if self._lost:
                raise WatchLost
            self._woken = asyncio.get_running_loop().create_future()
            try:
                await self._woken
            finally:
                self._woken = None
        commits, self._waiting = self._waiting, []
        return commits

    def give(self, commit: StoredCommit) -> None:
        if len(self._waiting) >= MAX_BEHIND:
            self._waiting.clear()
            self._lost = True
        if not self._lost:
            self._waiting.append(commit)
        self._wake()

    def lose(self) -> None:
        """Let it see no more than it has seen."""
        self._lost = True
        self._wake()

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)


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

    def watch(self, job: UUID) -> Watch:
        """Watch one job; enter what comes back."""
        return Watch(self, job)

    async def enter(self, watch: Watch) -> None:
        """Let commits come to `watch`. It must `leave`, also when this raises."""
        self._watches.setdefault(watch.job, set()).add(watch)
        if self._closed:
            watch.lose()
        elif self._task is None or self._stop is not None:
            await self._follow()

    def leave(self, watch: Watch) -> None:
        watches = self._watches[watch.job]
        watches.discard(watch)
        if not watches:
            del self._watches[watch.job]
        if not self._watches and self._stop is None and not self._closed:
            self._stop = asyncio.get_running_loop().call_later(self._linger, self._idle)

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
