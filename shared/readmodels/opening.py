"""Which backend: SQLite in the data folder unless a URL names a PostgreSQL."""

from pathlib import Path

from shared.readmodels.database import Database, Session
from shared.readmodels.reading import ReadModel
from shared.readmodels.sqlite import SqliteDatabase, open_file


def database(url: str | None, data: Path) -> Database:
    """The database of the read model. `url` None or empty means SQLite files under `data`/readmodel."""
    if url:
        from shared.readmodels.postgres import PostgresDatabase

        return PostgresDatabase(url)
    return SqliteDatabase(data / "readmodel")


def read_model(url: str | None, data: Path, threads: int = 4) -> ReadModel:
    """The read side, for processes that do not write. Nothing is opened before the first question."""
    return ReadModel(database(url, data), threads)


def own_tables(url: str | None, file: Path, name: str) -> Session:
    """A session for tables that are no part of the read model but stand where it does: in a PostgreSQL the
    schema `name`, else the SQLite `file`. Raises ReadModelUnavailable.
    """
    if url:
        from shared.readmodels.postgres import open_schema

        return open_schema(url, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    return open_file(file)
