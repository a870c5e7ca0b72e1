"""Removing what is due, and again what could not be removed, ever later, until it is gone."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from services.projector.files.due import Due, DueJob
from shared.application.files import JOBS, Files, FilesError, folder_of
from shared.files.folder import remove_tree

log = logging.getLogger(__name__)

BATCH: Final = 1000
FEW: Final = 8
"""So many jobs are looked up one by one; for more, the store is asked once which folders it has. Most jobs
have no files, and a request for each would cost more than the jobs did.
"""
AT_ONCE: Final = 4
FIRST_PAUSE_SECONDS: Final = 2.0
LONGEST_PAUSE_SECONDS: Final = 3600.0
LONGEST_SLEEP_SECONDS: Final = 30.0


class Cleaning:
    """Removes files from the store, and the copies that handlers had of them."""

    def __init__(
        self,
        due: Due,
        files: Files,
        work: Path,
        now_us: Callable[[], int],
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        """`work` holds the folders of handlers' copies."""
        self._due, self._files, self._work, self._now = due, files, work, now_us
        self._pause = first_pause_seconds
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """There may be something to remove."""
        self._woken.set()

    async def run(self) -> None:
        """Remove until cancelled; what is under way then is removed again later."""
        while True:
            self._woken.clear()
            if not await self.once():
                with contextlib.suppress(TimeoutError):
                    # Not wait_for: before Python 3.12 it may swallow a cancellation.
                    async with asyncio.timeout(self._sleep()):
                        await self._woken.wait()

    async def once(self) -> bool:
        """Remove what is due now; whether there was anything."""
        jobs = self._due.due(self._now(), BATCH)
        if not jobs:
            return False
        try:
            await asyncio.to_thread(self._remove_copies, jobs)
            having = await self._having(jobs)
        except (FilesError, OSError) as error:
            self._again(jobs, error)
            return True
        self._due.done(job.job for job in jobs if job not in having)
        for start in range(0, len(having), AT_ONCE):
            await asyncio.gather(*map(self._remove, having[start : start + AT_ONCE]))
        return True

    async def _having(self, jobs: Sequence[DueJob]) -> list[DueJob]:
        """Those of the jobs that may have files."""
        if len(jobs) <= FEW:
            return list(jobs)
        folders = set(await self._files.folders(JOBS))
        return [job for job in jobs if folder_of(job.job) in folders]

    async def _remove(self, job: DueJob) -> None:
        try:
            count = await self._files.delete(folder_of(job.job))
        except (FilesError, OSError) as error:
            self._again([job], error)
        except Exception as error:
            # Whatever these files do to us, the others go.
            log.exception("the files of job %s cannot be removed", job.job)
            self._again([job], error)
        else:
            if count:
                log.info("%d files of job %s are removed", count, job.job)
            self._due.done([job.job])

    def _remove_copies(self, jobs: Sequence[DueJob]) -> None:
        for job in jobs:
            remove_tree(self._work / str(job.job))

    def _again(self, jobs: Sequence[DueJob], error: Exception) -> None:
        log.warning("the files of %d jobs are not removed yet: %s", len(jobs), error)
        now = self._now()
        self._due.again(
            [(job.job, now + round(self._wait(job.tries) * 1_000_000)) for job in jobs], str(error)[:500]
        )

    def _wait(self, tries: int) -> float:
        return float(min(self._pause * 2 ** min(tries, 20), LONGEST_PAUSE_SECONDS))

    def _sleep(self) -> float:
        """Seconds until something is due."""
        due = self._due.next_due()
        if due is None:
            return LONGEST_SLEEP_SECONDS
        return min(LONGEST_SLEEP_SECONDS, max(0.0, (due - self._now()) / 1_000_000))
