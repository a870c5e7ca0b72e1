"""The read model in SQLite keeps the contract."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.readmodels.sqlite import SqliteDatabase
from tests.contract.readmodels.contract import ProjectionContract, QueriesContract
from tests.contract.readmodels.tracked import Tracked


class _Sqlite:
    @pytest.fixture
    def database(self, tmp_path: Path) -> Iterator[Tracked]:
        database = Tracked(SqliteDatabase(tmp_path / "readmodel"))
        yield database
        database.close()


class TestSqliteQueries(_Sqlite, QueriesContract):
    pass


class TestSqliteProjection(_Sqlite, ProjectionContract):
    pass
