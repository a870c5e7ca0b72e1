"""Which ended jobs' files are still to be removed: one SQLite file, with the journal position up to which it
is complete. Rows and position move in one transaction.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from shared.application.ports import Journal

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS due (
    job BLOB PRIMARY KEY, due_at INTEGER NOT NULL, tries INTEGER NOT NULL DEFAULT 0,
    answer TEXT) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS due_at ON due (due_at);
"""


@dataclass(frozen=True, slots=True)
class DueJob:
    """A job whose files are to go, and how often that has failed."""

    job: UUID
    tries: int


class Due:
    """The file. For one process, on one thread."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(file, isolation_level=None, timeout=10)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(_TABLES)

    @classmethod
    async def open(cls, file: Path, journal: Journal) -> "Due":
        """The file; a new one begins at the journal's end: what ended before is left alone."""
        due = cls(file)
        begin = "INSERT OR IGNORE INTO meta VALUES ('position', ?)"
        due._connection.execute(begin, (await journal.last_sequence(),))
        return due

    def close(self) -> None:
        self._connection.close()

    @property
    def position(self) -> int:
        """The stream sequence up to which everything is here."""
        return int(self._connection.execute("SELECT value FROM meta WHERE name = 'position'").fetchone()[0])

    def store(self, ended: Iterable[tuple[UUID, int]], position: int) -> None:
        """Keep jobs, with the microsecond at which each is due, and the position together."""
        with self._transaction():
            self._connection.executemany(
                "INSERT OR IGNORE INTO due (job, due_at) VALUES (?, ?)",
                ((job.bytes, due_at) for job, due_at in ended),
            )
            self._connection.execute("UPDATE meta SET value = ? WHERE name = 'position'", (position,))

    def due(self, now: int, limit: int) -> list[DueJob]:
        """What is due, the longest due first."""
        rows = self._connection.execute(
            "SELECT job, tries FROM due WHERE due_at <= ? ORDER BY due_at LIMIT ?", (now, limit)
        )
        return [DueJob(UUID(bytes=job), tries) for job, tries in rows]

    def next_due(self) -> int | None:
        """When the next one is due."""
        found = self._connection.execute("SELECT min(due_at) FROM due").fetchone()[0]
        return None if found is None else int(found)

    def done(self, jobs: Iterable[UUID]) -> None:
        """Their files are gone."""
        with self._transaction():
            self._connection.executemany("DELETE FROM due WHERE job = ?", ((job.bytes,) for job in jobs))

    def again(self, jobs: Iterable[tuple[UUID, int]], answer: str) -> None:
        """It failed: try again at the microsecond that is given for each."""
        with self._transaction():
            self._connection.executemany(
                "UPDATE due SET tries = tries + 1, due_at = ?, answer = ? WHERE job = ?",
                ((due_at, answer, job.bytes) for job, due_at in jobs),
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


def forget(file: Path) -> None:
    """Nothing is to be removed any more: when it is again, jobs that end from then on are meant."""
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            file.with_name(file.name + suffix).unlink()
