"""What the other processes read: the queries, each in a thread, on the store that is served now."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar
from uuid import UUID

from shared.application.reputation import Standing
from shared.application.summary import JobSummary, WorkerSummary, WorkflowSummary
from shared.readmodels import pages, queries
from shared.readmodels.database import Database, Session
from shared.readmodels.queries import DueJob, JobFilter, Measures, Page, PoisonCommit

P = ParamSpec("P")
T = TypeVar("T")


class ReadModel:
    """The read side. Every method may raise ReadModelUnavailable: no store yet, or it cannot be reached.

    Each thread keeps a session and changes it when another store is served.
    """

    def __init__(self, database: Database, threads: int = 4) -> None:
        self._database = database
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="readmodel")
        self._own = threading.local()
        self._sessions: set[Session] = set()
        self._known = 0
        self._moved = asyncio.Event()

    async def job(self, id: UUID) -> JobSummary | None:  # noqa: A002
        """One job with its input and output, None when there is none (yet)."""
        return await self._ask(queries.job, id)

    async def job_by_alias(self, tenant: str, alias: str) -> JobSummary | None:
        """The newest job of the tenant with this alias."""
        return await self._ask(queries.job_by_alias, tenant, alias)

    async def page(self, wanted: JobFilter, limit: int = 50, cursor: str | None = None) -> Page:
        """At most `limit` (1 to 500) jobs, newest first. Raises InvalidCursor."""
        return await self._ask(pages.page, wanted, limit, cursor)

    async def counts(self, tenant: str | None = None, owner: str | None = None) -> dict[str, int]:
        """How many jobs there are in each status that has any; all tenants together when None, only those of
        the tenant's `owner` when there is one.
        """
        return await self._ask(queries.counts, tenant, owner)

    async def measures(self) -> Measures:
        """All counts and tallies by workflow, those of all tenants together."""
        return await self._ask(queries.measures)

    async def due_jobs(self, now: int, limit: int = 100) -> list[DueJob]:
        """Jobs with a deadline at or before `now` (microseconds since the epoch), the most overdue first."""
        return await self._ask(queries.due_jobs, now, limit)

    async def open_jobs(self, size: int = 500) -> AsyncIterator[tuple[int, list[JobSummary]]]:
        """All jobs that have not ended, in lists, each with the position at which the answer is true.

        The first list is empty, so that the position always comes. Jobs come without their inputs.
        """
        loop = asyncio.get_running_loop()
        # One thread of its own: its calls never overlap, not even when the caller gives up in the middle.
        thread = ThreadPoolExecutor(1, thread_name_prefix="readmodel-open-jobs")
        lists = _open_jobs(self._database, size)
        try:
            while (found := await loop.run_in_executor(thread, next, lists, None)) is not None:
                yield found
        finally:
            thread.submit(lists.close)
            thread.shutdown(wait=False)

    async def workers(self) -> list[WorkerSummary]:
        return await self._ask(queries.workers)

    async def standings(self, workers: Collection[UUID]) -> dict[UUID, Standing]:
        """How the workers of these ids stand; those without a result are missing."""
        return await self._ask(queries.standings, workers)

    async def workflows(self, tenant: str) -> list[WorkflowSummary]:
        return await self._ask(queries.workflows, tenant)

    async def workflow(self, tenant: str, name: str) -> WorkflowSummary | None:
        return await self._ask(queries.workflow, tenant, name)

    async def poison(self, limit: int = 100) -> list[PoisonCommit]:
        return await self._ask(queries.poison, limit)

    async def poison_count(self) -> int:
        return await self._ask(queries.poison_count)

    async def position(self) -> int:
        """The stream sequence up to which the rows hold everything."""
        return await self._ask(queries.position)

    def moved_to(self, position: int) -> None:
        """Tell what position the projector published, so that waiting needs no polling."""
        if position > self._known:
            self._known = position
            self._moved.set()
            self._moved = asyncio.Event()

    async def wait_for(self, sequence: int, timeout: float) -> bool:
        """Wait until the rows hold everything up to `sequence`; False when `timeout` seconds were not enough.

        Asks the store after 2 ms, then less often up to every 50 ms; `moved_to` answers sooner.
        """
        end = time.monotonic() + timeout
        pause = 0.002
        while self._known < sequence:
            stored = await self.position()
            # A rebuilt store never falls behind what it replaced, so the highest position seen stays true.
            self._known = max(self._known, stored)
            if self._known >= sequence:
                break
            left = end - time.monotonic()
            if left <= 0:
                return False
            try:
                await asyncio.wait_for(self._moved.wait(), min(pause, left))
            except TimeoutError:
                pause = min(pause * 1.5, 0.05)
        return True

    def close(self) -> None:
        """End the threads and their sessions."""
        self._threads.shutdown()
        for session in self._sessions:
            session.close()
        self._sessions.clear()

    async def _ask(
        self, query: Callable[Concatenate[Session, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(self._answer, query, *args, **kwargs))

    def _answer(self, query: Callable[Concatenate[Session, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return query(self._session(), *args, **kwargs)

    def _session(self) -> Session:
        served = self._database.served()
        session: Session | None = getattr(self._own, "session", None)
        if session is None or self._own.served != served or not session.usable:
            if session is not None:
                self._sessions.discard(session)
                session.close()
                self._own.session = None
            session = self._database.reader()
            self._own.session, self._own.served = session, served
            self._sessions.add(session)
        return session


def _open_jobs(database: Database, size: int) -> Generator[tuple[int, list[JobSummary]], None, None]:
    session = database.reader()
    try:
        yield from queries.open_jobs(session, size)
    finally:
        session.close()
