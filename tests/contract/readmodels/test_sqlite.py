"""The read model in SQLite keeps the contract."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.readmodels import pages, queries
from shared.readmodels.errors import ReadModelUnavailable
from shared.readmodels.queries import JobFilter
from shared.readmodels.reading import ReadModel
from shared.readmodels.sqlite import SqliteDatabase
from tests.contract.readmodels.contract import ProjectionContract, projected
from tests.contract.readmodels.equality import EqualityContract, ReadingContract, RebuildContract
from tests.contract.readmodels.histories import job_id, one_step
from tests.contract.readmodels.queries_contract import QueriesContract
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


ALL = JobFilter("default", frozenset({"failed"}), "w", "s", "a", None, (("a", "b"), ("c", "d")), 1, 2)


@pytest.mark.parametrize("before", [None, (5, 5)])
@pytest.mark.parametrize("wanted", [JobFilter("default", tags=(("a", "b"),)), ALL])
@pytest.mark.parametrize(
    ("lead", "index"),
    [
        ("status", "jobs_status"),
        ("workflow", "jobs_workflow"),
        ("skill", "jobs_skill"),
        ("alias", "jobs_alias"),
        ("parent", "jobs_parent"),
        ("tag", "PRIMARY KEY"),
    ],
)
def test_each_page_is_a_walk_along_one_index_without_a_sort(
    tmp_path: Path, lead: pages._Lead, index: str, wanted: JobFilter, before: tuple[int, int] | None
) -> None:
    if lead not in ("status", "tag"):
        leading: dict[str, Any] = {lead: job_id(1) if lead == "parent" else getattr(ALL, lead)}
        wanted = replace(wanted, **leading)
    session = SqliteDatabase(tmp_path).writer()
    fitting = {("default", "failed"): 1, ("acme", "failed"): 1}
    for sql, parameters in pages._walks(wanted, lead, before, fitting):
        plan = [str(row[3]) for row in session.rows(f"EXPLAIN QUERY PLAN {sql}", [*parameters, 10])]
        assert index in plan[0], plan
        assert not any("TEMP B-TREE" in step or "SCAN" in step for step in plan), plan
    session.close()


def test_the_filter_that_fewest_jobs_pass_leads(tmp_path: Path) -> None:
    commits = [
        commit
        for number in range(20)
        for commit in one_step(
            1 + 2 * number,
            number,
            skill="rare" if number == 0 else "often",
            tags={"all": "yes", "some": str(number % 5)},
        )
    ]
    session = projected(SqliteDatabase(tmp_path), [*commits, *one_step(90, "open")[:1]])

    def lead(wanted: JobFilter) -> tuple[str, JobFilter]:
        counted = queries.counted(session, "default")
        fitting = {key: n for key, n in counted.items() if key[1] in wanted.statuses or not wanted.statuses}
        return pages._lead(session, wanted, fitting)

    every, some = ("all", "yes"), ("some", "1")
    done, queued = frozenset({"succeeded"}), frozenset({"queued"})
    assert lead(JobFilter("default"))[0] == "status"
    assert lead(JobFilter("default", skill="often"))[0] == "skill"
    assert lead(JobFilter("default", done, skill="rare"))[0] == "skill"
    assert lead(JobFilter("default", queued, skill="often"))[0] == "status"
    assert lead(JobFilter("default", done, skill="often", tags=(every, some))) == (
        "tag",
        JobFilter("default", done, skill="often", tags=(some, every)),
    )
    assert lead(JobFilter("default", skill="rare", tags=(every, some)))[0] == "skill"
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
