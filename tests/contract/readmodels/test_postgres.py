"""The read model in PostgreSQL keeps the contract."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from shared.readmodels.errors import ReadModelUnavailable
from shared.readmodels.postgres import PostgresDatabase
from shared.readmodels.reading import ReadModel
from shared.readmodels.sqlite import SqliteDatabase
from tests.contract.readmodels.contract import ProjectionContract, digest_of, projected
from tests.contract.readmodels.equality import EqualityContract, ReadingContract, RebuildContract
from tests.contract.readmodels.histories import history, one_step
from tests.contract.readmodels.queries_contract import QueriesContract
from tests.contract.readmodels.tracked import Tracked


class _Postgres:
    @pytest.fixture
    def database(self, postgres_url: str) -> Iterator[Tracked]:
        database = Tracked(PostgresDatabase(postgres_url))
        yield database
        database.close()


def test_both_backends_hold_the_same_bytes(postgres_url: str, tmp_path: Path) -> None:
    commits = history(40, jobs=40)
    digests = set()
    for place in (Tracked(PostgresDatabase(postgres_url)), Tracked(SqliteDatabase(tmp_path))):
        digests.add(digest_of(projected(place, commits, size=7)))
        place.close()
    assert len(digests) == 1


def test_a_server_that_is_gone_is_unavailable() -> None:
    database = PostgresDatabase("postgresql://postgres@/postgres?host=/nowhere")
    with pytest.raises(ReadModelUnavailable):
        database.reader()


def test_a_database_without_a_store_is_unavailable(postgres_url: str) -> None:
    with pytest.raises(ReadModelUnavailable):
        PostgresDatabase(postgres_url).reader()


async def test_a_reader_whose_connection_was_cut_opens_another(postgres_url: str) -> None:
    database = Tracked(PostgresDatabase(postgres_url))
    projected(database, one_step(1, "a"))
    reads = ReadModel(database, threads=1)
    assert await reads.position() == 2
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    with pytest.raises(ReadModelUnavailable):
        await reads.position()
    assert await reads.position() == 2
    reads.close()
    database.close()


class TestPostgresQueries(_Postgres, QueriesContract):
    pass


class TestPostgresProjection(_Postgres, ProjectionContract):
    pass


class TestPostgresEquality(_Postgres, EqualityContract):
    pass


class TestPostgresRebuild(_Postgres, RebuildContract):
    pass


class TestPostgresReading(_Postgres, ReadingContract):
    pass
