"""Deadlines: finds the jobs that are due in the read model and has the dispatcher look at each.

The domain decides what a passed deadline means; a job that is looked at too often, or twice, stays as it is.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from shared.application.commands import Dispatcher, DispatcherSilent
from shared.broker.asking import NoDispatcher
from shared.readmodels.errors import ReadModelError
from shared.readmodels.queries import DueJob

log = logging.getLogger(__name__)

IN_FLIGHT: Final = 64
"""Commands that wait for their answer at one time."""

BATCH: Final = 1000
"""Due jobs that one sweep takes up, besides those it waits with."""

SETTLING_SECONDS: Final = 2.0
"""How long the rows may take to show what a command did before the job is sent another; doubles each time."""

LONGEST_WAIT_SECONDS: Final = 60.0
LONGEST_PAUSE_SECONDS: Final = 5.0
"""Between two sweeps while nobody decides, or no rows can be read."""

BY: Final = "system:scheduler"


class DueJobs(Protocol):
    """What the sweep reads."""

    async def due_jobs(self, now: int, limit: int = 100) -> list[DueJob]:
        """Jobs with a deadline at or before `now` (microseconds), the most overdue first."""
        ...


@dataclass(slots=True)
class _Sent:
    """A deadline that was sent `times`; not again before `until` (monotonic seconds)."""

    due_at: int
    times: int
    until: float


class Sweep:
    """Has every due job looked at once, and again, ever less often, while it stays due."""

    def __init__(
        self,
        reads: DueJobs,
        dispatcher: Dispatcher,
        now_us: Callable[[], int],
        *,
        every_seconds: float = 0.5,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reads, self._dispatcher = reads, dispatcher
        self._now_us, self._monotonic = now_us, monotonic
        self._every = every_seconds
        self._sent: dict[UUID, _Sent] = {}
        self._room = asyncio.Semaphore(IN_FLIGHT)
        self._trouble = ""

    async def run(self, stopping: asyncio.Event) -> None:
        """Sweep until `stopping` is set. Survives the absence of the rows and of the dispatcher."""
        pause = self._every
        while not stopping.is_set():
            try:
                await self.once()
            except (ReadModelError, NoDispatcher) as error:
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                self._tell(f"deadlines wait: {str(error) or type(error).__name__}")
            else:
                pause = self._every
                self._tell("")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), pause)

    async def once(self) -> int:
        """One sweep; how many jobs were sent a command.

        Raises ReadModelError when the rows cannot be read, NoDispatcher when nobody decides: those jobs
        count as not sent.
        """
        limit = BATCH + len(self._sent)
        due = await self._reads.due_jobs(self._now_us(), limit)
        self._forget(due, complete=len(due) < limit)
        now = self._monotonic()
        todo = [job for job in due if not self._waits(job, now)]
        absent: list[NoDispatcher] = []
        await asyncio.gather(*(self._expire(job, absent) for job in todo))
        if absent:
            raise absent[0]
        return len(todo)

    async def _expire(self, job: DueJob, absent: list[NoDispatcher]) -> None:
        async with self._room:
            if absent:
                return
            try:
                answer = await self._dispatcher.ask(job.id, {"command": "expire", "by": BY})
            except NoDispatcher as error:
                absent.append(error)
                return
            except DispatcherSilent as error:
                log.warning("job %s is due and got no decision: %s", job.id, error)
            else:
                if not answer.ok and answer.code != "unavailable":
                    log.warning("job %s is due and was refused: %s", job.id, answer.message)
            self._remember(job)

    def _waits(self, job: DueJob, now: float) -> bool:
        sent = self._sent.get(job.id)
        return sent is not None and sent.due_at == job.due_at and now < sent.until

    def _remember(self, job: DueJob) -> None:
        before = self._sent.get(job.id)
        times = before.times + 1 if before is not None and before.due_at == job.due_at else 1
        wait = min(SETTLING_SECONDS * 2 ** min(times - 1, 16), LONGEST_WAIT_SECONDS)
        self._sent[job.id] = _Sent(job.due_at, times, self._monotonic() + wait)

    def _forget(self, due: Sequence[DueJob], *, complete: bool) -> None:
        """Drop what is due no more. Only a complete answer tells."""
        if complete and self._sent:
            still = {job.id for job in due}
            self._sent = {id_: sent for id_, sent in self._sent.items() if id_ in still}

    def _tell(self, trouble: str) -> None:
        """One line when trouble begins or changes, one when it is over."""
        if trouble and trouble != self._trouble:
            log.warning("%s", trouble)
        elif self._trouble and not trouble:
            log.info("deadlines are looked at again")
        self._trouble = trouble
