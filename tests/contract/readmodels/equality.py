"""The contract's second half: rows follow from the journal alone, however the projector got there."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.application.ports import StoredCommit
from shared.readmodels import queries
from shared.readmodels.database import Database
from shared.readmodels.digest import digest, first_difference
from shared.readmodels.errors import PositionMoved
from shared.readmodels.projection import Projection
from shared.readmodels.reading import ReadModel
from shared.readmodels.rebuild import Progress, rebuild
from tests.contract.readmodels.contract import digest_of, projected
from tests.contract.readmodels.doubles import (
    CarelessSession,
    FailingSession,
    Killed,
    LiveProjector,
    RecordedJournal,
    say_nothing,
)
from tests.contract.readmodels.histories import history, job_id, one_step

# The place is emptied by each example, and each backend runs the same examples.
_SUBCLASSED = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]


class EqualityContract:
    """`database` is an empty place for a store."""

    @pytest.fixture
    def database(self) -> Iterator[Database]:
        raise NotImplementedError

    @settings(max_examples=15, deadline=None, suppress_health_check=_SUBCLASSED)
    @given(seed=st.integers(0, 10**6), data=st.data())
    def test_any_split_into_batches_gives_the_same_rows(
        self, database: Database, seed: int, data: st.DataObject
    ) -> None:
        commits = history(seed, jobs=8)
        cuts = data.draw(st.sets(st.integers(1, len(commits)), max_size=len(commits)))
        hot = data.draw(st.sampled_from([0, 3, 1000]))
        whole = _anew(database, commits)
        session = database.beside()
        projection = Projection(session, hot)
        for start, end in pairwise(sorted({0, *cuts, len(commits)})):
            projection.project(commits[start:end])
        assert projection.poisoned == 0
        assert digest_of(session) == whole
        session.close()

    @settings(max_examples=20, deadline=None, suppress_health_check=_SUBCLASSED)
    @given(
        seed=st.integers(0, 10**6), size=st.integers(1, 9), fatals=st.lists(st.integers(1, 60), max_size=4)
    )
    def test_a_projector_killed_anywhere_goes_on_where_the_rows_are(
        self, database: Database, seed: int, size: int, fatals: list[int]
    ) -> None:
        commits = history(seed, jobs=8)
        whole = _anew(database, commits)
        assert _with_kills(database, commits, size, fatals, FailingSession) == whole

    def test_a_position_written_apart_from_its_rows_is_caught(self, database: Database) -> None:
        """The control: kills that an honest store outlives must cost this one an update."""
        commits = history(13, jobs=8)
        whole = _anew(database, commits)
        kills = range(2, 40)
        honest = {_with_kills(database, commits, 5, [kill], FailingSession) for kill in kills}
        careless = [_with_kills(database, commits, 5, [kill], CarelessSession) for kill in kills]
        assert honest == {whole}
        assert sum(found != whole for found in careless) > len(kills) / 2

    def test_the_digest_sees_every_table(self, database: Database) -> None:
        session = projected(database, [*history(14), *one_step(10**6, "a", tags={"k": "v"})])
        seen = {digest_of(session)}
        for statement in (
            "UPDATE jobs SET due_at = 1 WHERE first_sequence = ?",
            "UPDATE jobs SET input = NULL WHERE first_sequence = ?",
            "UPDATE job_tags SET value = 'w' WHERE first_sequence = ?",
            "UPDATE counts SET n = n + 1 WHERE n < ?",
            "UPDATE tallies SET n = n + 1 WHERE n < ?",
            "UPDATE workers SET name = 'other' WHERE ? > 0",
            "UPDATE workflows SET deleted = 1 WHERE ? > 0",
            "INSERT INTO poison VALUES (?, 'job', 'x', 1, 'why', 'raw')",
            "DELETE FROM jobs WHERE first_sequence = ?",
        ):
            assert session.write(statement, [(10**6,)]) > 0
            seen.add(digest_of(session))
        assert len(seen) == 10

    def test_the_first_row_that_differs_is_named(self, database: Database) -> None:
        commits = [c for n in range(5) for c in one_step(1 + 2 * n, n)]
        served = projected(database, commits)
        rebuilt = database.beside()
        Projection(rebuilt).project(commits)
        with served.snapshot(), rebuilt.snapshot():
            assert first_difference(served, rebuilt) is None
        served.write("UPDATE jobs SET status = 'failed' WHERE first_sequence = ?", [(5,)])
        served.write("DELETE FROM jobs WHERE first_sequence = ?", [(7,)])
        with served.snapshot(), rebuilt.snapshot():
            difference = first_difference(served, rebuilt)
        assert difference is not None
        assert (difference.table, difference.key) == ("jobs", "5")
        assert "'failed'" in (difference.served or "")
        assert "'succeeded'" in (difference.rebuilt or "")
        served.write("UPDATE jobs SET status = 'succeeded' WHERE first_sequence = ?", [(5,)])
        with served.snapshot(), rebuilt.snapshot():
            difference = first_difference(served, rebuilt)
        assert difference is not None
        assert (difference.key, difference.served) == ("7", None)


class RebuildContract:
    """`database` is an empty place for a store."""

    @pytest.fixture
    def database(self) -> Iterator[Database]:
        raise NotImplementedError

    async def test_a_rebuilt_store_is_equal_and_served(self, database: Database) -> None:
        journal = RecordedJournal(history(20, jobs=40))
        live = LiveProjector(database, journal)
        live.catch_up()
        before = database.served(), digest_of(live.session)
        told: list[Progress] = []

        async def tell(progress: Progress) -> None:
            told.append(progress)

        result = await rebuild(database, journal, live, tell)
        assert result.equal
        assert result.difference is None
        assert result.swapped
        assert result.position == await journal.last_sequence()
        assert digest_of(live.session) == before[1] == result.rebuilt_digest
        assert {progress.phase for progress in told} == {"replaying", "comparing", "swapping"}
        live.journal.add(one_step(10**6, "after"))
        live.catch_up()
        assert queries.job(database.reader(), job_id("after")) is not None

    async def test_commits_that_arrive_meanwhile_are_in_the_rebuilt_store(self, database: Database) -> None:
        commits = history(21, jobs=60)
        journal = RecordedJournal(commits[:100])
        live = LiveProjector(database, journal)
        live.catch_up()

        def arrive() -> None:
            journal.add(commits[len(journal.commits) : len(journal.commits) + 50])
            live.catch_up()
            # The journal goes on while the projector stands still.
            journal.add(commits[len(journal.commits) : len(journal.commits) + 50])

        live.on_halt = arrive
        result = await rebuild(database, journal, live, say_nothing)
        assert live.halts == 2
        assert result.equal, result.difference
        assert live.position == journal.commits[249].sequence
        journal.add(commits[len(journal.commits) :])
        live.catch_up()
        assert digest_of(live.session) == _anew(database, commits)

    async def test_a_lost_update_is_found_and_mended(self, database: Database) -> None:
        journal = RecordedJournal([c for n in range(5) for c in one_step(1 + 2 * n, n)])
        live = LiveProjector(database, journal)
        live.catch_up()
        live.session.write("UPDATE jobs SET status = 'queued' WHERE id = ?", [(job_id(3).bytes,)])
        result = await rebuild(database, journal, live, say_nothing)
        assert not result.equal
        assert result.difference is not None
        assert (result.difference.table, result.difference.key) == ("jobs", "7")
        assert digest_of(live.session) == result.rebuilt_digest == _anew(database, journal.commits)

    async def test_verifying_leaves_the_served_store(self, database: Database) -> None:
        journal = RecordedJournal(history(22))
        live = LiveProjector(database, journal)
        live.catch_up()
        served = database.served()
        result = await rebuild(database, journal, live, say_nothing, swap=False)
        assert result.equal
        assert not result.swapped
        assert database.served() == served
        assert queries.position(database.reader()) == live.position

    async def test_a_rebuild_of_nothing_is_equal(self, database: Database) -> None:
        live = LiveProjector(database, RecordedJournal([]))
        result = await rebuild(database, live.journal, live, say_nothing)
        assert result.equal
        assert result.position == 0

    async def test_a_rebuild_that_fails_leaves_the_served_store(self, database: Database) -> None:
        journal = RecordedJournal(history(23))
        live = LiveProjector(database, journal)
        live.catch_up()
        served = database.served(), digest_of(live.session)

        async def fail(progress: Progress) -> None:
            if progress.phase == "comparing":
                raise Killed

        with pytest.raises(Killed):
            await rebuild(database, journal, live, fail)
        assert (database.served(), digest_of(live.session)) == served
        assert (await rebuild(database, journal, live, say_nothing)).equal

    async def test_a_rebuild_that_is_given_up_leaves_the_served_store(self, database: Database) -> None:
        journal = RecordedJournal(history(24))
        live = LiveProjector(database, journal)
        live.catch_up()
        served = digest_of(live.session)
        journal.commits.pop()  # so it waits for the last commit for ever
        rebuilding = asyncio.create_task(rebuild(database, journal, live, say_nothing))
        for _ in range(100):
            await asyncio.sleep(0)
        rebuilding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await rebuilding
        assert digest_of(live.session) == served

    async def test_readers_follow_a_swap(self, database: Database) -> None:
        journal = RecordedJournal(one_step(1, "a"))
        live = LiveProjector(database, journal)
        live.catch_up()
        reads = ReadModel(database)
        # Often enough that PostgreSQL has a prepared statement for it.
        for _ in range(40):
            assert await reads.job(job_id("b")) is None
        results = [await rebuild(database, journal, live, say_nothing) for _ in range(2)]
        assert all(result.equal for result in results)
        journal.add(one_step(3, "b"))
        live.catch_up()
        for _ in range(8):
            assert await reads.job(job_id("b")) is not None
        reads.close()


class ReadingContract:
    """`database` is an empty place for a store."""

    @pytest.fixture
    def database(self) -> Iterator[Database]:
        raise NotImplementedError

    async def test_waiting_ends_when_the_rows_are_there(self, database: Database) -> None:
        projection = Projection(database.writer())
        reads = ReadModel(database)
        assert await reads.wait_for(0, 0.0)
        assert not await reads.wait_for(2, 0.01)
        waiting = asyncio.create_task(reads.wait_for(2, 20))
        await asyncio.sleep(0)
        projection.project(one_step(1, "a"))
        assert await waiting
        assert (await reads.job(job_id("a"))) is not None
        reads.close()

    async def test_waiting_ends_at_once_when_the_position_is_told(self, database: Database) -> None:
        database.writer()
        reads = ReadModel(database)
        waiting = [asyncio.create_task(reads.wait_for(7, 20)) for _ in range(3)]
        other = asyncio.create_task(reads.wait_for(8, 0.05))
        await asyncio.sleep(0)
        reads.moved_to(7)
        assert await asyncio.gather(*waiting, other) == [True, True, True, False]
        reads.close()

    async def test_many_questions_at_once_are_answered(self, database: Database) -> None:
        commits = history(30, jobs=30)
        projected(database, commits)
        reads = ReadModel(database)
        counts = await asyncio.gather(*(reads.counts() for _ in range(50)))
        assert all(sum(count.values()) == 30 for count in counts)
        assert await reads.position() == commits[-1].sequence
        assert len(await reads.workers()) == 2
        assert await reads.workflow("default", "convert") == (await reads.workflows("default"))[0]
        assert await reads.poison() == []
        assert await reads.poison_count() == 0
        assert await reads.due_jobs(0) == []
        assert await reads.job_by_alias("default", "none") is None
        reads.close()

    async def test_open_jobs_can_be_left_in_the_middle(self, database: Database) -> None:
        projected(database, history(31, jobs=60))
        reads = ReadModel(database)
        async for _, jobs in reads.open_jobs(size=2):
            if jobs:
                break
        seen = [len(jobs) async for _, jobs in reads.open_jobs(size=2)]
        assert sum(seen) > 5
        reads.close()


def _anew(database: Database, commits: Sequence[StoredCommit]) -> str:
    """The digest of a fresh store that took the commits in one go."""
    session = database.beside()
    projection = Projection(session)
    projection.project(commits)
    with session.snapshot():
        result = digest(session)
    session.close()
    return result


def _with_kills(
    database: Database,
    commits: Sequence[StoredCommit],
    size: int,
    fatals: Sequence[int],
    careless_or_not: type[FailingSession],
) -> str:
    """The digest of a store whose projector was killed at each of these writes and started again."""
    session = database.beside()
    lives = iter(fatals)
    while True:
        projection = Projection(careless_or_not(session, next(lives, 0)))
        # A follower begins behind the stored position.
        rest = [commit for commit in commits if commit.sequence > projection.position]
        try:
            for start in range(0, len(rest), size):
                projection.project(rest[start : start + size])
            break
        except (Killed, PositionMoved):
            continue
    result = digest_of(session)
    session.close()
    return result
