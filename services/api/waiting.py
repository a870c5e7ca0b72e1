"""Waiting for a job to end: its summary is folded from the commits as they come, by the fold the read model
uses.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Self
from uuid import UUID

from services.api.views import public
from services.api.watch import Follower, Watch, WatchLost
from shared.application.ports import Journal, StoredCommit
from shared.application.summary import JobSummary


class Waiting:
    """Waits for jobs on behalf of requests."""

    def __init__(self, journal: Journal, follower: Follower) -> None:
        self._journal, self._follower = journal, follower

    def job(self, job: UUID) -> "Ending":
        """Enter what comes back before the job is submitted, so that nothing of it is missed."""
        return Ending(self._journal, self._follower.watch(job))


class Ending:
    """The end of one job, awaited."""

    __slots__ = ("_journal", "_summary", "_watch")

    def __init__(self, journal: Journal, watch: Watch) -> None:
        self._journal, self._watch = journal, watch
        self._summary = JobSummary(id=str(watch.job))

    async def __aenter__(self) -> Self:
        await self._watch.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._watch.__aexit__()

    async def within(self, seconds: float, *, known: bool) -> dict[str, Any] | None:
        """The ended job as GET shows it, None when time ran out. `known` says that it began under this
        watch.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        timer = loop.call_at(until, self._watch.lose)
        try:
            if not known:
                await self._from_history(until)
            while not self._summary.is_ended:
                if not fold(self._summary, await self._watch.next()):
                    await self._from_history(until)
        except (TimeoutError, WatchLost):
            return None
        finally:
            timer.cancel()
        return public(self._summary)

    async def _from_history(self, until: float) -> None:
        async with asyncio.timeout_at(until):
            commits = await self._journal.history("job", self._watch.job)
        self._summary = JobSummary(id=str(self._watch.job))
        fold(self._summary, commits)


def fold(summary: JobSummary, commits: Iterable[StoredCommit]) -> bool:
    """Fold what is new of `commits`; False at a gap, which only a fresh read of the history can fill."""
    for commit in commits:
        if commit.n <= summary.version_of_job:
            continue
        if commit.n != summary.version_of_job + 1:
            return False
        if not summary.first_sequence:
            summary.first_sequence = commit.sequence
        for topic, data in commit.events:
            summary.apply(topic, data, commit.at, commit.sequence)
    return True
