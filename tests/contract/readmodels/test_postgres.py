"""The read model in PostgreSQL keeps the contract."""

from collections.abc import Iterator

import pytest

from shared.readmodels.postgres import PostgresDatabase
from tests.contract.readmodels.contract import ProjectionContract, QueriesContract
from tests.contract.readmodels.tracked import Tracked


class _Postgres:
    @pytest.fixture
    def database(self, postgres_url: str) -> Iterator[Tracked]:
        database = Tracked(PostgresDatabase(postgres_url))
        yield database
        database.close()


class TestPostgresQueries(_Postgres, QueriesContract):
    pass


class TestPostgresProjection(_Postgres, ProjectionContract):
    pass
