"""Which backend: SQLite in the data folder unless a URL names a PostgreSQL."""

from pathlib import Path

from shared.readmodels.database import Database
from shared.readmodels.reading import ReadModel
from shared.readmodels.sqlite import SqliteDatabase


def database(url: str | None, data: Path) -> Database:
    """The database of the read model. `url` None or empty means SQLite files under `data`/readmodel."""
    if url:
        from shared.readmodels.postgres import PostgresDatabase

        return PostgresDatabase(url)
    return SqliteDatabase(data / "readmodel")


def read_model(url: str | None, data: Path, threads: int = 4) -> ReadModel:
    """The read side, for processes that do not write. Nothing is opened before the first question."""
    return ReadModel(database(url, data), threads)
