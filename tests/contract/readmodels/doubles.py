"""Stand-ins that fail on purpose, and a journal and a projector that the test moves by hand."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from typing import Any
from uuid import UUID

from shared.application.ports import Appended, Decision, Recorded, StoredCommit
from shared.readmodels.database import Database, Row, Session
from shared.readmodels.projection import Projection
from shared.readmodels.rebuild import Progress


class Killed(BaseException):
    """As by kill -9: nothing may clean up after it but the store itself."""


class FailingSession:
    """A session that fails at the `fatal`th write it is asked for, before it or behind it."""

    def __init__(self, session: Session, fatal: int) -> None:
        self._session = session
        self._left = fatal

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        return self._session.rows(sql, parameters)

    def stream(self, sql: str, parameters: Sequence[Any] = (), size: int = 1000) -> Iterator[list[Row]]:
        return self._session.stream(sql, parameters, size)

    def write(self, sql: str, rows: Sequence[Sequence[Any]]) -> int:
        self._left -= 1
        if self._left == 0:
            raise Killed
        return self._session.write(sql, rows)

    def transaction(self) -> AbstractContextManager[None]:
        return self._session.transaction()

    def snapshot(self) -> AbstractContextManager[None]:
        return self._session.snapshot()

    @property
    def usable(self) -> bool:
        return True

    def close(self) -> None:
        self._session.close()


class CarelessSession(FailingSession):
    """The position is stored before its rows, by itself."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with ExitStack() as self._rows_only:
            yield

    def write(self, sql: str, rows: Sequence[Sequence[Any]]) -> int:
        changed = super().write(sql, rows)
        if "position" in sql:
            self._rows_only.enter_context(self._session.transaction())
        return changed


class RecordedJournal:
    """A journal that is only read: what is in `commits`, and what `add` brings."""

    def __init__(self, commits: Sequence[StoredCommit]) -> None:
        self.commits = list(commits)
        self._news = asyncio.Event()

    def add(self, commits: Sequence[StoredCommit]) -> None:
        self.commits.extend(commits)
        self._news.set()

    async def follow(self, after: int, kinds: Collection[str] = ()) -> AsyncIterator[list[StoredCommit]]:
        while True:
            self._news.clear()
            if batch := [commit for commit in self.commits if commit.sequence > after][:37]:
                after = batch[-1].sequence
                yield batch
            else:
                await self._news.wait()

    async def last_sequence(self) -> int:
        return self.commits[-1].sequence if self.commits else 0

    async def append(self, decision: Decision) -> Appended:
        raise NotImplementedError

    def submit(self, decision: Decision) -> tuple[asyncio.Future[int], bytes]:
        raise NotImplementedError

    async def load(self, cls: type[Any], id: UUID) -> Recorded[Any] | None:  # noqa: A002
        raise NotImplementedError

    async def history(self, kind: str, id: UUID) -> list[StoredCommit]:  # noqa: A002
        raise NotImplementedError


class LiveProjector:
    """The served store's projector, moved by the test."""

    def __init__(self, database: Database, journal: RecordedJournal) -> None:
        self.database, self.journal = database, journal
        self.session = database.writer()
        self.projection = Projection(self.session)
        self.halts = 0
        self.on_halt: Callable[[], None] = lambda: None

    @property
    def position(self) -> int:
        return self.projection.position

    def catch_up(self) -> None:
        self.projection.project(self.journal.commits)

    @asynccontextmanager
    async def halted(self) -> AsyncIterator[None]:
        self.on_halt()
        self.halts += 1
        yield

    def reopen(self, swap: Callable[[], None]) -> None:
        self.session.close()
        swap()
        self.session = self.database.writer()
        self.projection = Projection(self.session)


async def say_nothing(progress: Progress) -> None:
    """For those who do not want to know."""
