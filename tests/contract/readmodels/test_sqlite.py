"""The read model in SQLite keeps the contract."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.readmodels import pages, queries
from shared.readmodels.errors import ReadModelUnavailable
from shared.readmodels.queries import JobFilter
from shared.readmodels.reading import ReadModel
from shared.readmodels.sqlite import SqliteDatabase
from tests.contract.readmodels.contract import ProjectionContract, QueriesContract, projected
from tests.contract.readmodels.equality import EqualityContract, ReadingContract, RebuildContract
from tests.contract.readmodels.histories import job_id, one_step
from tests.contract.readmodels.tracked import Tracked


class _Sqlite:
    @pytest.fixture
    def database(self, tmp_path: Path) -> Iterator[Tracked]:
        database = Tracked(SqliteDatabase(tmp_path / "readmodel"))
        yield database
        database.close()


async def test_a_folder_without_a_store_is_unavailable(tmp_path: Path) -> None:
    reads = ReadModel(SqliteDatabase(tmp_path / "none"))
    with pytest.raises(ReadModelUnavailable):
        await reads.position()
    reads.close()


def test_rows_can_be_read_when_the_projector_is_gone(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path)
    projected(database, one_step(1, "a")).close()
    session = database.reader()
    assert queries.position(session) == 2
    session.close()


def test_what_an_unfinished_rebuild_left_is_swept_away(tmp_path: Path) -> None:
    database = Tracked(SqliteDatabase(tmp_path))
    projected(database, one_step(1, "a"))
    database.beside()
    assert len(list(tmp_path.glob("*.db"))) == 2
    assert queries.position(database.writer()) == 2
    assert len(list(tmp_path.glob("*.db"))) == 1
    database.close()


@pytest.mark.parametrize("few", [0, 20_000])
@pytest.mark.parametrize("before", [None, (5, 5)])
@pytest.mark.parametrize(
    ("wanted", "leads"),
    [
        (JobFilter("default"), "jobs_status"),
        (JobFilter(None, frozenset({"failed", "queued"})), "jobs_status"),
        (JobFilter("default", workflow="w"), "jobs_workflow"),
        (JobFilter("default", skill="s"), "jobs_skill"),
        (JobFilter("default", alias="a"), "jobs_alias"),
        (JobFilter("default", parent=job_id(1)), "jobs_parent"),
        (JobFilter("default", tags=(("a", "b"), ("c", "d"))), "PRIMARY KEY"),
        (JobFilter("default", frozenset({"failed"}), "w", "s", tags=(("a", "b"),)), "PRIMARY KEY"),
        (JobFilter("default", frozenset({"failed"}), "w", "s", created_from=1), "jobs_workflow"),
    ],
)
def test_each_page_is_a_walk_along_one_index_without_a_sort(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    few: int,
    before: tuple[int, int] | None,
    wanted: JobFilter,
    leads: str,
) -> None:
    monkeypatch.setattr(pages, "_FEW", few)
    session = SqliteDatabase(tmp_path).writer()
    counted = {("default", "failed"): 1, ("acme", "failed"): 1}
    for sql, parameters in pages._walks(wanted, before, counted):
        plan = [str(row[3]) for row in session.rows(f"EXPLAIN QUERY PLAN {sql}", [*parameters, 10])]
        expected = leads if not few or leads in ("jobs_alias", "jobs_parent") else "jobs_status"
        assert expected in plan[0], plan
        assert not any("TEMP B-TREE" in step or "SCAN" in step for step in plan), plan
    session.close()


class TestSqliteQueries(_Sqlite, QueriesContract):
    pass


class TestSqliteProjection(_Sqlite, ProjectionContract):
    pass


class TestSqliteEquality(_Sqlite, EqualityContract):
    pass


class TestSqliteRebuild(_Sqlite, RebuildContract):
    pass


class TestSqliteReading(_Sqlite, ReadingContract):
    pass
