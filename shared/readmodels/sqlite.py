"""The read model in SQLite: one folder, one file a generation, and `current`, which names the served one."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared import durable
from shared.readmodels import schema
from shared.readmodels.database import Row
from shared.readmodels.errors import ReadModelUnavailable, UnfitCommit

_UNFIT = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    OverflowError,
    UnicodeEncodeError,
)


class SqliteSession:
    """One connection. WAL lets readers read while the writer writes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.OperationalError as error:
            raise ReadModelUnavailable(f"SQLite: {error}") from error

    def stream(self, sql: str, parameters: Sequence[Any] = (), size: int = 1000) -> Iterator[list[Row]]:
        cursor = self._connection.execute(sql, parameters)
        try:
            while rows := cursor.fetchmany(size):
                yield rows
        finally:
            cursor.close()

    def write(self, sql: str, rows: Sequence[Sequence[Any]]) -> int:
        try:
            return self._connection.executemany(sql, rows).rowcount
        except _UNFIT as error:
            raise UnfitCommit(f"{type(error).__name__}: {error}") from error
        except sqlite3.OperationalError as error:
            raise ReadModelUnavailable(f"SQLite: {error}") from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        # IMMEDIATE takes the write lock now: a transaction that reads first can be refused it later.
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        self._connection.execute("BEGIN")
        try:
            # The snapshot of a deferred transaction is taken by its first read.
            self._connection.execute("SELECT 1 FROM meta").fetchone()
            yield
        finally:
            self._connection.execute("ROLLBACK")

    @property
    def usable(self) -> bool:
        return True

    def close(self) -> None:
        self._connection.close()


class SqliteDatabase:
    """The generations in one folder. Only one process may write them; any number may read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._current = folder / "current"

    def served(self) -> str:
        try:
            stat = os.stat(self._current)
        except FileNotFoundError:
            return ""
        return f"{stat.st_ino}.{stat.st_mtime_ns}"

    def reader(self) -> SqliteSession:
        for _ in range(10):
            name = self._served_name()
            if name is None:
                break
            try:
                return open_file(self._folder / name, readonly=True)
            except sqlite3.OperationalError as error:
                # A swap may have removed it after its name was read; anything else is the answer.
                if self._served_name() == name:
                    raise ReadModelUnavailable(f"{self._folder / name}: {error}") from error
        raise ReadModelUnavailable(f"no read model in {self._folder}")

    def writer(self) -> SqliteSession:
        name = self._served_name()
        if name is not None and (self._folder / name).exists():
            session = open_file(self._folder / name)
            if session.rows("SELECT value FROM meta WHERE name = 'schema'") == [(schema.VERSION,)]:
                self._sweep(keep=name)
                return session
            session.close()
        session = self.beside()
        session.close()
        self.swap()
        return self.writer()

    def beside(self) -> SqliteSession:
        self._folder.mkdir(parents=True, exist_ok=True)
        self.drop_beside()
        served = self._served_name()
        number = int(served.removesuffix(".db")) + 1 if served else 1
        session = open_file(self._folder / f"{number:06}.db")
        with session.transaction():
            for statement in schema.statements(
                text="TEXT", serial="INTEGER", blob="BLOB", clustered=" WITHOUT ROWID", tail=""
            ):
                session.rows(statement)
        return session

    def swap(self) -> None:
        beside = self._beside_name()
        assert beside is not None, "there is a store beside"
        # The name must not be on the disk before what it names: a power cut between would leave no tables.
        for path in self._folder.glob(f"{beside}*"):
            durable.settle(path)
        durable.replace(self._current, beside.encode())
        self._sweep(keep=beside)

    def drop_beside(self) -> None:
        self._sweep(keep=self._served_name())

    def _served_name(self) -> str | None:
        try:
            return self._current.read_text().strip()
        except FileNotFoundError:
            return None

    def _beside_name(self) -> str | None:
        served = self._served_name()
        return next((path.name for path in self._folder.glob("*.db") if path.name != served), None)

    def _sweep(self, keep: str | None) -> None:
        # Readers that have a removed file open keep it until their next query looks for the new one.
        for path in self._folder.glob("*.db*"):
            if keep is None or not path.name.startswith(keep):
                path.unlink(missing_ok=True)


def open_file(path: Path, *, readonly: bool = False) -> SqliteSession:
    """A session on a file, which is made if it is to be written and not there."""
    # Each session belongs to one thread at a time, not to the thread that opened it.
    if readonly:
        connection = sqlite3.connect(
            f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False, timeout=10
        )
    else:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        connection.execute("PRAGMA journal_mode = WAL")
        # A power cut may take back the newest transactions, rows and position together; the journal has them.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -16384")
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
    connection.execute("PRAGMA mmap_size = 268435456")
    return SqliteSession(connection)
