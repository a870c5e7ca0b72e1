"""The projector's loop, on a journal in memory and a real store."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from pathlib import Path

import pytest

from services.projector import announcing
from services.projector.announcing import Announcer
from services.projector.project import Projector
from shared.application.ports import StoredCommit
from shared.journal.follow import JournalWentBack
from shared.readmodels import queries
from shared.readmodels.projection import Projection
from shared.readmodels.rebuild import Progress, rebuild
from shared.readmodels.sqlite import SqliteDatabase
from tests.contract.readmodels.contract import digest_of
from tests.contract.readmodels.doubles import RecordedJournal
from tests.contract.readmodels.histories import history, one_step


class Told:
    """Remembers positions, and lets a test wait for one."""

    def __init__(self) -> None:
        self.positions: list[int] = []
        self._news = asyncio.Event()

    def __call__(self, position: int) -> None:
        self.positions.append(position)
        self._news.set()

    async def reached(self, position: int) -> None:
        async with asyncio.timeout(60):
            while position not in self.positions:
                self._news.clear()
                await self._news.wait()


async def stopped(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_a_projector_that_another_overtook_goes_on_behind_it(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path)
    journal = RecordedJournal(one_step(1, "a"))
    told = Told()
    projector = Projector(database, journal, told)
    running = asyncio.create_task(projector.run())
    await told.reached(2)
    other = database.writer()
    more = [*one_step(3, "b"), *one_step(5, "c")]
    Projection(other).project(more[:2])
    journal.add(more)
    await told.reached(6)
    assert queries.counts(other) == {"succeeded": 3}
    assert queries.poison_count(other) == 0
    other.close()
    await stopped(running)
    projector.close()


class ShortenedJournal(RecordedJournal):
    """A journal that ends before positions that were given out, as after restoring an older copy."""

    async def follow(self, after: int, kinds: Collection[str] = ()) -> AsyncIterator[list[StoredCommit]]:
        last = await self.last_sequence()
        if after > last:
            raise JournalWentBack(after, last)
        async for commits in super().follow(after, kinds):
            yield commits


async def test_a_journal_that_went_back_is_projected_anew(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path)
    session = database.writer()
    Projection(session).project(history(1))
    session.close()
    told = Told()
    projector = Projector(database, ShortenedJournal(one_step(1, "a")), told)
    running = asyncio.create_task(projector.run())
    await told.reached(2)
    reader = database.reader()
    assert queries.counts(reader) == {"succeeded": 1}
    assert told.positions[1:] == [0, 2]
    reader.close()
    await stopped(running)
    projector.close()


async def test_a_store_that_fails_ends_the_projector_and_loses_nothing(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path)
    commits = history(2)
    journal = RecordedJournal(commits)
    projector = Projector(database, journal, Told())
    projector.close()
    with pytest.raises(Exception, match="closed"):
        await projector.run()
    told = Told()
    again = Projector(database, journal, told)
    running = asyncio.create_task(again.run())
    await told.reached(commits[-1].sequence)
    await stopped(running)
    again.close()


async def test_rows_stay_whole_while_a_rebuild_runs_under_load(tmp_path: Path) -> None:
    commits = history(3, jobs=120)
    journal = RecordedJournal(commits[:50])
    database = SqliteDatabase(tmp_path / "served")
    told = Told()
    projector = Projector(database, journal, told)
    running = asyncio.create_task(projector.run())

    async def tell(progress: Progress) -> None:
        journal.add(commits[len(journal.commits) : len(journal.commits) + 60])

    for _ in range(3):
        result = await rebuild(database, journal, projector, tell)
        assert result.equal, result.difference
    journal.add(commits[len(journal.commits) :])
    await told.reached(commits[-1].sequence)
    expected = SqliteDatabase(tmp_path / "expected").writer()
    Projection(expected).project(commits)
    served = database.reader()
    assert digest_of(served) == digest_of(expected)
    served.close()
    expected.close()
    await stopped(running)
    projector.close()


async def test_positions_are_told_at_once_when_idle_and_together_under_load(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(announcing, "APART_SECONDS", 1.0)
    told: list[int] = []
    announcer = Announcer(told.append)
    announcer(1)
    assert told == [1]
    for position in range(2, 100):
        announcer(position)
    assert told == [1]
    async with asyncio.timeout(30):
        while told[-1] != 99:
            await asyncio.sleep(0.01)
    assert told == [1, 99]
    announcer.close()


async def test_an_announcer_that_is_closed_says_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcing, "APART_SECONDS", 0.3)
    told: list[int] = []
    announcer = Announcer(told.append)
    announcer(1)
    announcer(2)
    announcer.close()
    await asyncio.sleep(0.5)  # longer than it would have waited
    assert told == [1]


async def test_starting_over_leaves_no_old_row_and_misses_no_new_one(tmp_path: Path) -> None:
    database, journal, told = SqliteDatabase(tmp_path), RecordedJournal(one_step(1, "a")), Told()
    projector = Projector(database, journal, told)
    running = asyncio.create_task(projector.run())
    await told.reached(2)
    journal.commits.clear()  # emptied; the sequences go on
    async with asyncio.timeout(60):
        await projector.start_over()
    with_rows = database.reader()
    assert queries.counts(with_rows) == {}
    journal.add(one_step(3, "b"))
    await told.reached(4)
    with_rows.close()
    with_rows = database.reader()
    assert queries.counts(with_rows) == {"succeeded": 1}
    with_rows.close()
    await stopped(running)
    projector.close()
