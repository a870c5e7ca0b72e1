"""Removing the files of ended jobs: which, when, and what happens when the store does not do it."""

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest

from services.projector.beside import Together
from services.projector.files.cleaning import FEW, Cleaning
from services.projector.files.due import Due, forget
from services.projector.files.ended import Ended
from shared.application.clock import now_seconds, utc_now
from shared.application.collecting import collected
from shared.application.expressions import evaluate
from shared.application.files import JOBS, Files, StoreFailed, key_of
from shared.application.ids import new_id
from shared.application.ports import Decision
from shared.domain.graph import Graph
from shared.domain.job import Facts, Job, JobSpec
from shared.domain.topics import AGGREGATES, EVENTS
from shared.files.config import FilesConfig
from shared.files.opening import open_files
from shared.journal.memory import MemoryJournal

GRAPH = Graph.of_skill("resize")
SECOND = 1_000_000


class Failing:
    """A store that does not do some things for a while."""

    def __init__(self, files: Files) -> None:
        self._files, self.fails, self.calls = files, False, list[str]()

    async def folders(self, prefix: str) -> Sequence[str]:
        self._called("folders")
        return await self._files.folders(prefix)

    async def delete(self, prefix: str) -> int:
        self._called("delete")
        return await self._files.delete(prefix)

    def _called(self, what: str) -> None:
        self.calls.append(what)
        if self.fails:
            raise StoreFailed("down")


class World:
    """A journal, files in a folder, and what removes them; a clock that the test moves."""

    def __init__(self, url: str | None, folder: Path) -> None:
        self.url, self.folder, self.us, self.keep_us = url, folder, 0, 0
        self.journal = MemoryJournal(EVENTS, AGGREGATES)
        config = FilesConfig(
            "files", 1000, 10, str(folder / "work"), folder=str(folder / "store"), link_key=b"k"
        )
        self.files = open_files(config, now_seconds)
        self.store = Failing(self.files)

    async def open(self) -> None:
        self.due = await Due.open(self.url, self.folder / "removal.db", self.journal)
        files = cast(Files, self.store)
        self.cleaning = Cleaning(self.due, files, self.folder / "work", lambda: self.us)
        self.ended = Ended(self.due, self.keep_us, self.cleaning.wake)
        last = await self.journal.last_sequence()
        await self.ended.catch_up(self.journal, lambda: last)

    async def reopen(self) -> None:
        """As after kill -9: nothing is kept but what was stored."""
        self.due.close()
        await self.open()

    async def job(self, *, files: bool = True, seen: bool = True) -> UUID:
        job = new_id()
        await self._store(job, Job.accept(job, JobSpec(skill="resize"), self._facts()), None, seen)
        if files:
            await self.files.put(key_of(job, "a/b"), _body())
            (self.folder / "work" / str(job)).mkdir(parents=True)
        return job

    async def end(self, job: UUID, *, seen: bool = True) -> None:
        recorded = await self.journal.load(Job, job)
        assert recorded is not None
        recorded.aggregate.cancel(self._facts(), "", "client:x")
        await self._store(job, recorded.aggregate, recorded.tip, seen)
        self.us = max(self.us, self.journal.commits[-1].at)

    async def left(self) -> set[str]:
        """Jobs that still have files or copies."""
        copies = {path.name for path in (self.folder / "work").glob("*")}
        return copies | {folder[len(JOBS) : -1] for folder in await self.files.folders(JOBS)}

    async def _store(self, job: UUID, aggregate: Job, tip: bytes | None, seen: bool) -> None:
        before = len(self.journal.commits)
        await self.journal.append(Decision("job", job, collected(aggregate), "x", tip))
        if seen:
            self.ended.saw(self.journal.commits[before:])

    @staticmethod
    def _facts() -> Facts:
        return Facts(utc_now(), GRAPH, evaluate)


async def _body() -> AsyncIterator[bytes]:
    yield b"x"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str | None:
    """Where the read model is."""
    return request.getfixturevalue("postgres_url") if request.param == "postgresql" else None


@pytest.fixture
async def world(url: str | None, tmp_path: Path) -> AsyncIterator[World]:
    made = World(url, tmp_path)
    await made.open()
    yield made
    made.due.close()


async def test_files_go_when_their_job_has_ended_and_no_others(world: World) -> None:
    ended, running = await world.job(), await world.job()
    await world.end(ended)
    assert await world.cleaning.once()
    assert await world.left() == {str(running)}
    assert not await world.cleaning.once()


async def test_an_end_that_was_seen_is_not_lost_with_the_process(world: World) -> None:
    job = await world.job()
    await world.end(job)
    await world.reopen()
    assert await world.cleaning.once()
    assert await world.left() == set()


async def test_an_end_that_was_not_seen_is_found_after_a_restart(world: World) -> None:
    job = await world.job()
    await world.end(job, seen=False)
    assert not await world.cleaning.once()
    await world.reopen()
    assert await world.cleaning.once()
    assert await world.left() == set()


async def test_what_comes_after_the_removal_stays_also_over_a_restart(world: World) -> None:
    job = await world.job()
    await world.end(job)
    assert await world.cleaning.once()
    await world.files.put(key_of(job, "late"), _body())
    await world.reopen()
    assert not await world.cleaning.once()
    assert await world.left() == {str(job)}


async def test_what_ended_before_files_were_removed_stays(url: str | None, tmp_path: Path) -> None:
    world = World(url, tmp_path)
    await world.open()
    job = await world.job()
    await world.end(job)
    world.due.close()
    forget(url, tmp_path / "removal.db")  # it was turned off
    await world.open()
    assert not await world.cleaning.once()
    assert await world.left() == {str(job)}
    world.due.close()


async def test_a_store_that_fails_is_asked_again_ever_later(world: World) -> None:
    job = await world.job()
    await world.end(job)
    world.store.fails = True
    began = world.us
    for wait in (2, 4, 8):
        assert await world.cleaning.once()
        assert not await world.cleaning.once()
        assert world.due.next_due() == world.us + wait * SECOND
        world.us += wait * SECOND
    world.store.fails = False
    await world.reopen()
    assert await world.cleaning.once()
    assert world.us == began + 14 * SECOND
    assert str(job) not in {folder[len(JOBS) : -1] for folder in await world.files.folders(JOBS)}


async def test_many_jobs_without_files_cost_one_question(world: World) -> None:
    for _ in range(FEW + 1):
        await world.end(await world.job(files=False))
    having = await world.job()
    await world.end(having)
    assert await world.cleaning.once()
    assert world.store.calls == ["folders", "delete"]
    assert await world.left() == set()
    assert world.due.next_due() is None


async def test_many_jobs_are_asked_for_again_when_the_question_fails(world: World) -> None:
    for _ in range(FEW + 1):
        await world.end(await world.job())
    world.store.fails = True
    assert await world.cleaning.once()
    world.store.fails = False
    world.us += 2 * SECOND
    assert await world.cleaning.once()
    assert await world.left() == set()


async def test_files_may_outlive_their_job(url: str | None, tmp_path: Path) -> None:
    world = World(url, tmp_path)
    world.keep_us = 60 * SECOND
    await world.open()
    job = await world.job()
    await world.end(job)
    world.us += 59 * SECOND
    assert not await world.cleaning.once()
    world.us += 2 * SECOND
    assert await world.cleaning.once()
    assert await world.left() == set()
    world.due.close()


async def test_each_beside_the_projector_is_told() -> None:
    told: list[tuple[str, object]] = []

    class Told:
        def __init__(self, name: str) -> None:
            self.saw: Callable[[object], None] = lambda commits: told.append((name, commits))
            self.went_back: Callable[[int], None] = lambda last: told.append((name, last))

    both = Together(cast(Ended, Told("a")), cast(Ended, Told("b")))
    both.saw([])
    both.went_back(7)
    assert told == [("a", []), ("b", []), ("a", 7), ("b", 7)]
