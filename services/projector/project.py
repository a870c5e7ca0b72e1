"""The loop that keeps the read model up to date: follow the journal, project what comes, say how far."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

from services.projector.beside import Beside
from shared.application.ports import Journal
from shared.journal.follow import JournalWentBack
from shared.readmodels import queries
from shared.readmodels.database import Database
from shared.readmodels.errors import PositionMoved
from shared.readmodels.projection import Projection

log = logging.getLogger(__name__)


CANCEL_SECONDS = 0.2


class Projector:
    """Writes the served store. It satisfies `shared.readmodels.rebuild.Live`.

    A transaction runs on the loop's own thread: it is short, and what waits meanwhile becomes the next batch.
    """

    def __init__(
        self,
        database: Database,
        journal: Journal,
        announce: Callable[[int], None],
        beside: Beside | None = None,
    ) -> None:
        """`announce` is told the position after each transaction; it and `beside` must be quick."""
        self._beside = beside
        self._database = database
        self._journal = journal
        self._announce = announce
        self._between = asyncio.Lock()
        self._anew = asyncio.Event()
        self._begun = asyncio.Event()
        self._open()

    @property
    def position(self) -> int:
        return self._projection.position

    @property
    def poisoned(self) -> int:
        """How many commits of the journal could not become rows."""
        return self._poisoned_before + self._projection.poisoned

    async def run(self) -> None:
        """Project until cancelled. Raises what the store raises: start again then, nothing is lost."""
        log.info("projecting from position %d", self.position)
        self._announce(self.position)
        while True:
            try:
                await self._until_anew()
            except PositionMoved as moved:
                log.warning("%s: another projector writes here; going on from %d", moved, self.position)
            except JournalWentBack as back:
                # The journal was restored from an older copy, and the rows tell of a future that is gone.
                log.warning("%s: building the read model anew", back)
                if self._beside is not None:
                    self._beside.went_back(back.last)
                self._start_over()

    async def start_over(self) -> None:
        """Throw the rows away and project the journal from its beginning: it was emptied. Returns when no
        old row is left.
        """
        self._anew.set()
        await self._begun.wait()

    @contextlib.asynccontextmanager
    async def halted(self) -> AsyncIterator[None]:
        """Inside, no transaction runs and the position stands."""
        async with self._between:
            yield

    def reopen(self, swap: Callable[[], None]) -> None:
        """Close the store, call `swap`, and go on with the store that is served then. While halted only."""
        assert self._between.locked()
        self._session.close()
        swap()
        self._open()

    def close(self) -> None:
        self._session.close()

    async def _until_anew(self) -> None:
        """Follow until told to start over."""
        anew = asyncio.create_task(self._anew.wait())
        following = asyncio.create_task(self._follow())
        try:
            await asyncio.wait({anew, following}, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                following.result()
        finally:
            anew.cancel()
            while not following.done():
                # Again and again: before Python 3.12 a wait_for on the way may swallow a cancellation.
                following.cancel()
                await asyncio.wait({following}, timeout=CANCEL_SECONDS)
        log.warning("the journal was emptied: building the read model anew")
        async with self._between:
            self._start_over()
        self._anew.clear()
        self._begun.set()
        self._begun.clear()  # those who wait for it now are woken; the next wait for the next time

    async def _follow(self) -> None:
        async with contextlib.aclosing(self._journal.follow(self.position)) as batches:  # type: ignore[type-var]
            async for commits in batches:
                async with self._between:
                    poisoned = self.poisoned
                    position = self._projection.project(commits)
                if self.poisoned != poisoned:
                    log.error("%d commits up to %d are poison", self.poisoned - poisoned, position)
                if self._beside is not None:
                    self._beside.saw(commits)
                self._announce(position)

    def _start_over(self) -> None:
        self._session.close()
        self._database.beside().close()
        self._database.swap()
        self._open()
        self._announce(self.position)

    def _open(self) -> None:
        self._session = self._database.writer()
        self._projection = Projection(self._session)
        self._poisoned_before = queries.poison_count(self._session)
