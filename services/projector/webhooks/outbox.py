"""What is to be sent and what was: one SQLite file, with the journal position up to which it is complete.

Rows and position move in one transaction, so a crash repeats at most what the position does not hold, and a
message's id keeps it from being written twice.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

KEPT_US: Final = 7 * 86_400 * 1_000_000
"""How long what is done stays in the log."""

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO meta VALUES ('position', 0);
CREATE TABLE IF NOT EXISTS watched (
    job BLOB PRIMARY KEY, url TEXT NOT NULL, origin TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (
    id TEXT PRIMARY KEY, job BLOB NOT NULL, version INTEGER NOT NULL, event TEXT NOT NULL, url TEXT NOT NULL,
    origin TEXT NOT NULL, made_at INTEGER NOT NULL, due_at INTEGER, attempts INTEGER NOT NULL DEFAULT 0,
    body BLOB, outcome TEXT NOT NULL DEFAULT 'pending', answer TEXT, done_at INTEGER) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS messages_due ON messages (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS messages_done ON messages (done_at) WHERE done_at IS NOT NULL;
"""


@dataclass(frozen=True, slots=True)
class Watched:
    """A job whose end somebody wants to hear of."""

    url: str
    origin: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message: an event of a job, for a URL. `body` is None until it was made. Times: microseconds."""

    id: str
    job: UUID
    version: int
    event: str
    url: str
    origin: str
    made_at: int
    attempts: int = 0
    body: bytes | None = None


@dataclass(slots=True)
class Changes:
    """What one batch of commits brings."""

    watch: dict[UUID, Watched]
    forget: list[UUID]
    messages: list[Message]

    @property
    def is_empty(self) -> bool:
        return not (self.watch or self.forget or self.messages)


class Outbox:
    """The file. For one process, on one thread."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(file, isolation_level=None, timeout=10)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(_TABLES)

    def close(self) -> None:
        self._connection.close()

    @property
    def position(self) -> int:
        """The stream sequence up to which everything is here."""
        return int(self._connection.execute("SELECT value FROM meta WHERE name = 'position'").fetchone()[0])

    def watched(self) -> dict[UUID, Watched]:
        """All jobs that are watched."""
        rows = self._connection.execute("SELECT job, url, origin FROM watched")
        return {UUID(bytes=job): Watched(url, origin) for job, url, origin in rows}

    def store(self, changes: Changes, position: int, now: int) -> None:
        """Keep the changes and the position together; messages are due at once."""
        with self._transaction():
            run = self._connection.executemany
            run(
                "INSERT OR REPLACE INTO watched VALUES (?, ?, ?)",
                ((job.bytes, watched.url, watched.origin) for job, watched in changes.watch.items()),
            )
            run(
                "INSERT OR IGNORE INTO messages (id, job, version, event, url, origin, made_at, due_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (m.id, m.job.bytes, m.version, m.event, m.url, m.origin, m.made_at, now)
                    for m in changes.messages
                ),
            )
            run("DELETE FROM watched WHERE job = ?", ((job.bytes,) for job in changes.forget))
            self._connection.execute("UPDATE meta SET value = ? WHERE name = 'position'", (position,))

    def due(self, now: int, limit: int, besides: Iterable[str] = ()) -> list[Message]:
        """Messages that are to be sent now, the longest due first, without those that are being sent."""
        sending = set(besides)
        rows = self._connection.execute(
            "SELECT id, job, version, event, url, origin, made_at, attempts, body FROM messages"
            " WHERE due_at <= ? ORDER BY due_at LIMIT ?",
            (now, limit + len(sending)),
        )
        found = [Message(row[0], UUID(bytes=row[1]), *row[2:]) for row in rows if row[0] not in sending]
        return found[:limit]

    def next_due(self) -> int | None:
        """When the next message is due."""
        found = self._connection.execute("SELECT min(due_at) FROM messages").fetchone()[0]
        return None if found is None else int(found)

    def made(self, message: str, body: bytes) -> None:
        """The message's body, which every attempt sends alike."""
        self._connection.execute("UPDATE messages SET body = ? WHERE id = ?", (body, message))

    def again(self, message: str, due_at: int, answer: str) -> None:
        """An attempt failed, and another follows."""
        self._connection.execute(
            "UPDATE messages SET attempts = attempts + 1, due_at = ?, answer = ? WHERE id = ?",
            (due_at, answer, message),
        )

    def done(self, message: str, outcome: str, answer: str, now: int) -> None:
        """No further attempt: `outcome` is delivered or failed."""
        with self._transaction():
            self._connection.execute(
                "UPDATE messages SET attempts = attempts + 1, due_at = NULL, body = NULL, outcome = ?,"
                " answer = ?, done_at = ? WHERE id = ?",
                (outcome, answer, now, message),
            )
            self._connection.execute("DELETE FROM messages WHERE done_at < ?", (now - KEPT_US,))

    def log(self) -> list[tuple[str, str, str, int, str | None]]:
        """(id, event, outcome, attempts, last answer) of all that is kept, oldest first."""
        return self._connection.execute(
            "SELECT id, event, outcome, attempts, answer FROM messages ORDER BY made_at, id"
        ).fetchall()

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
