"""The read model in PostgreSQL: one schema a generation, renamed to swap."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, LiteralString

import psycopg
from psycopg import sql as pg

from shared.readmodels import schema
from shared.readmodels.database import Row
from shared.readmodels.errors import ReadModelUnavailable, UnfitCommit

_UNFIT = (psycopg.DataError, psycopg.IntegrityError, UnicodeEncodeError)


class PostgresSession:
    """One connection whose search path is one generation's schema."""

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        try:
            cursor = self._connection.execute(_spelled(sql), parameters or None)
            return cursor.fetchall() if cursor.description is not None else []
        except psycopg.OperationalError as error:
            raise ReadModelUnavailable(f"PostgreSQL: {error}") from error

    def stream(self, sql: str, parameters: Sequence[Any] = (), size: int = 1000) -> Iterator[list[Row]]:
        with self._connection.cursor(name="stream") as cursor:
            cursor.execute(_spelled(sql), parameters or None)
            while rows := cursor.fetchmany(size):
                yield rows

    def write(self, sql: str, rows: Sequence[Sequence[Any]]) -> int:
        try:
            with self._connection.cursor() as cursor:
                cursor.executemany(_spelled(sql), rows)
                return cursor.rowcount
        except _UNFIT as error:
            raise UnfitCommit(f"{type(error).__name__}: {error}") from error
        except psycopg.OperationalError as error:
            raise ReadModelUnavailable(f"PostgreSQL: {error}") from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._connection.transaction():
            yield

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        with self._connection.transaction():
            self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield

    @property
    def usable(self) -> bool:
        return not self._connection.broken and not self._connection.closed

    def close(self) -> None:
        self._connection.close()


class PostgresDatabase:
    """The served schema `name` and, while it is rebuilt, `name`_beside."""

    def __init__(self, url: str, name: str = "daybook") -> None:
        self._url = url
        self._name = name
        self._beside = f"{name}_beside"

    def served(self) -> str:
        # Names are resolved again after a rename, so an open session follows a swap by itself.
        return self._name

    def reader(self) -> PostgresSession:
        session = self._session(self._name)
        if not session.rows("SELECT 1 FROM pg_namespace WHERE nspname = ?", (self._name,)):
            session.close()
            raise ReadModelUnavailable(f"no schema {self._name} in the database")
        return session

    def writer(self) -> PostgresSession:
        session = self._session(self._name)
        with session.transaction():
            if self._schema_is_todays(session):
                return session
            self._create(session, self._beside)
            self._rename(session)
        return session

    def beside(self) -> PostgresSession:
        session = self._session(self._beside)
        with session.transaction():
            self._create(session, self._beside)
        return session

    def swap(self) -> None:
        session = self._session(self._name)
        try:
            with session.transaction():
                self._rename(session)
            # Apart, because dropping waits for readers that are in the middle of the old tables.
            self._drop(session, f"{self._name}_before")
        finally:
            session.close()

    def drop_beside(self) -> None:
        session = self._session(self._name)
        try:
            self._drop(session, self._beside)
        finally:
            session.close()

    def _session(self, path: str) -> PostgresSession:
        return _connected(self._url, path)

    def _schema_is_todays(self, session: PostgresSession) -> bool:
        sql = "SELECT 1 FROM pg_tables WHERE schemaname = ? AND tablename = 'meta'"
        if not session.rows(sql, (self._name,)):
            return False
        return session.rows("SELECT value FROM meta WHERE name = 'schema'") == [(schema.VERSION,)]

    def _create(self, session: PostgresSession, name: str) -> None:
        self._drop(session, name)
        session.rows(_named("CREATE SCHEMA {}", name))
        session.rows(_named("SET LOCAL search_path TO {}", name))
        for statement in schema.statements(
            text='TEXT COLLATE "C"', serial="BIGINT", blob="BYTEA", clustered="", tail=", first_sequence"
        ):
            session.rows(statement)

    def _rename(self, session: PostgresSession) -> None:
        self._drop(session, f"{self._name}_before")
        if session.rows("SELECT 1 FROM pg_namespace WHERE nspname = ?", (self._name,)):
            session.rows(_named("ALTER SCHEMA {} RENAME TO {}", self._name, f"{self._name}_before"))
        session.rows(_named("ALTER SCHEMA {} RENAME TO {}", self._beside, self._name))

    def _drop(self, session: PostgresSession, name: str) -> None:
        session.rows(_named("DROP SCHEMA IF EXISTS {} CASCADE", name))


def open_schema(url: str, name: str) -> PostgresSession:
    """A session in the schema `name`, which is made if it is not there. Raises ReadModelUnavailable."""
    session = _connected(url, name)
    try:
        if not session.rows("SELECT 1 FROM pg_namespace WHERE nspname = ?", (name,)):
            session.rows(_named("CREATE SCHEMA IF NOT EXISTS {}", name))
    except psycopg.errors.UniqueViolation:
        pass  # another process made it in the same moment
    return session


def _connected(url: str, path: str) -> PostgresSession:
    try:
        connection = psycopg.connect(url, autocommit=True, options=f"-c search_path={path}")
    except psycopg.OperationalError as error:
        raise ReadModelUnavailable(f"PostgreSQL does not answer: {error}") from error
    return PostgresSession(connection)


@lru_cache(maxsize=1000)
def _spelled(sql: str) -> str:
    return sql.replace("?", "%s")


def _named(sql: LiteralString, *names: str) -> str:
    return pg.SQL(sql).format(*(pg.Identifier(name) for name in names)).as_string(None)
