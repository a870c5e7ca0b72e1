"""The read model in SQLite keeps the contract."""

from pathlib import Path

import pytest

from shared.readmodels.database import Database
from shared.readmodels.sqlite import SqliteDatabase
from tests.contract.readmodels.contract import ProjectionContract, QueriesContract


class _Sqlite:
    @pytest.fixture
    def database(self, tmp_path: Path) -> Database:
        return SqliteDatabase(tmp_path / "readmodel")


class TestSqliteQueries(_Sqlite, QueriesContract):
    pass


class TestSqliteProjection(_Sqlite, ProjectionContract):
    pass
