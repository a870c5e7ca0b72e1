"""Which ended jobs' files are still to be removed, with the journal position up to which that is complete.

Rows and position move in one transaction.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from shared.application.ports import Journal
from shared.readmodels.opening import own_tables

SCHEMA: Final = "daybook_files"
"""Where the tables are in a PostgreSQL."""

_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BIGINT NOT NULL)",
    """CREATE TABLE IF NOT EXISTS due (
        job {blob} PRIMARY KEY, due_at BIGINT NOT NULL, tries BIGINT NOT NULL DEFAULT 0, answer TEXT)""",
    "CREATE INDEX IF NOT EXISTS due_at ON due (due_at)",
)


@dataclass(frozen=True, slots=True)
class DueJob:
    """A job whose files are to go, and how often that has failed."""

    job: UUID
    tries: int


class Due:
    """The store: where the read model is. For one process, on one thread. Everything raises
    ReadModelUnavailable when the store does not answer.
    """

    def __init__(self, url: str | None, file: Path) -> None:
        """In the PostgreSQL at `url`; None or empty means the SQLite `file`."""
        self._session = own_tables(url, file, SCHEMA)
        with self._session.transaction():
            for statement in _TABLES:
                self._session.rows(statement.format(blob="BYTEA" if url else "BLOB"))

    @classmethod
    async def open(cls, url: str | None, file: Path, journal: Journal) -> "Due":
        """The store; a new one begins at the journal's end: what ended before is left alone."""
        due = cls(url, file)
        begin = "INSERT INTO meta VALUES ('position', ?) ON CONFLICT (name) DO NOTHING"
        due._session.write(begin, [(await journal.last_sequence(),)])
        return due

    def close(self) -> None:
        self._session.close()

    @property
    def position(self) -> int:
        """The stream sequence up to which everything is here."""
        return int(self._session.rows("SELECT value FROM meta WHERE name = 'position'")[0][0])

    def store(self, ended: Iterable[tuple[UUID, int]], position: int) -> None:
        """Keep jobs, with the microsecond at which each is due, and the position together."""
        with self._session.transaction():
            self._session.write(
                "INSERT INTO due (job, due_at) VALUES (?, ?) ON CONFLICT (job) DO NOTHING",
                [(job.bytes, due_at) for job, due_at in ended],
            )
            self._session.write("UPDATE meta SET value = ? WHERE name = 'position'", [(position,)])

    def due(self, now: int, limit: int) -> list[DueJob]:
        """What is due, the longest due first."""
        rows = self._session.rows(
            "SELECT job, tries FROM due WHERE due_at <= ? ORDER BY due_at LIMIT ?", (now, limit)
        )
        return [DueJob(UUID(bytes=bytes(job)), tries) for job, tries in rows]

    def next_due(self) -> int | None:
        """When the next one is due."""
        found = self._session.rows("SELECT min(due_at) FROM due")[0][0]
        return None if found is None else int(found)

    def done(self, jobs: Iterable[UUID]) -> None:
        """Their files are gone."""
        with self._session.transaction():
            self._session.write("DELETE FROM due WHERE job = ?", [(job.bytes,) for job in jobs])

    def again(self, jobs: Iterable[tuple[UUID, int]], answer: str) -> None:
        """It failed: try again at the microsecond that is given for each."""
        with self._session.transaction():
            self._session.write(
                "UPDATE due SET tries = tries + 1, due_at = ?, answer = ? WHERE job = ?",
                [(due_at, answer, job.bytes) for job, due_at in jobs],
            )


def forget(url: str | None, file: Path) -> None:
    """Nothing is to be removed any more: when it is again, jobs that end from then on are meant."""
    if not url and not file.exists():
        return
    session = own_tables(url, file, SCHEMA)
    for table in ("due", "meta"):
        session.rows(f"DROP TABLE IF EXISTS {table}")
    session.close()
