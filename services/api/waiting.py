"""Waiting for a job to end: its summary is folded from the commits as they come, by the fold the read model
uses.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from services.api.views import public
from services.api.watch import Follower, Watch, WatchLost
from shared.application.ports import Journal, StoredCommit
from shared.application.summary import JobSummary


class Waiting:
    """Waits for jobs on behalf of requests."""

    def __init__(self, journal: Journal, follower: Follower) -> None:
        self._journal, self._follower = journal, follower

    @asynccontextmanager
    async def job(self, job: UUID) -> AsyncIterator["Ending"]:
        """Enter before the job is submitted, so that nothing of it is missed."""
        async with self._follower.watch(job) as watch:
            yield Ending(self._journal, watch)


class Ending:
    """The end of one job, awaited."""

    def __init__(self, journal: Journal, watch: Watch) -> None:
        self._journal, self._watch = journal, watch
        self._summary = JobSummary(id=str(watch.job))

    async def within(self, seconds: float, *, known: bool) -> dict[str, Any] | None:
        """The ended job as GET shows it, None when time ran out. `known` says that it began under this
        watch.
        """
        try:
            async with asyncio.timeout(seconds):
                if not known:
                    await self._from_history()
                while not self._summary.is_ended:
                    await self._more()
        except (TimeoutError, WatchLost):
            return None
        return public(self._summary)

    async def _more(self) -> None:
        if not fold(self._summary, await self._watch.next()):
            await self._from_history()

    async def _from_history(self) -> None:
        self._summary = JobSummary(id=str(self._watch.job))
        fold(self._summary, await self._journal.history("job", self._watch.job))


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
