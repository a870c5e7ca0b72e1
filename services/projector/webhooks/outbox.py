"""What is to be sent and what was, with the journal position up to which it is complete.

Rows and position move in one transaction, so a crash repeats at most what the position does not hold, and a
message's id keeps it from being written twice.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from shared.readmodels.opening import own_tables

SCHEMA: Final = "daybook_webhooks"
"""Where the tables are in a PostgreSQL."""
KEPT_US: Final = 7 * 86_400 * 1_000_000
"""How long what is done stays in the log."""

_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BIGINT NOT NULL)",
    "INSERT INTO meta VALUES ('position', 0) ON CONFLICT (name) DO NOTHING",
    "CREATE TABLE IF NOT EXISTS watched (job {blob} PRIMARY KEY, url TEXT NOT NULL, origin TEXT NOT NULL)",
    """CREATE TABLE IF NOT EXISTS messages (
        id TEXT PRIMARY KEY, job {blob} NOT NULL, version BIGINT NOT NULL, event TEXT NOT NULL,
        url TEXT NOT NULL, origin TEXT NOT NULL, made_at BIGINT NOT NULL, due_at BIGINT,
        attempts BIGINT NOT NULL DEFAULT 0, body {blob}, outcome TEXT NOT NULL DEFAULT 'pending', answer TEXT,
        done_at BIGINT)""",
    "CREATE INDEX IF NOT EXISTS messages_due ON messages (due_at) WHERE due_at IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS messages_done ON messages (done_at) WHERE done_at IS NOT NULL",
)


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
    """The store: where the read model is, so that whoever goes on elsewhere goes on with it. For one process,
    on one thread. Everything raises ReadModelUnavailable when the store does not answer.
    """

    def __init__(self, url: str | None, file: Path) -> None:
        """In the PostgreSQL at `url`; None or empty means the SQLite `file`."""
        self._session = own_tables(url, file, SCHEMA)
        with self._session.transaction():
            for statement in _TABLES:
                self._session.rows(statement.format(blob="BYTEA" if url else "BLOB"))

    def close(self) -> None:
        self._session.close()

    @property
    def position(self) -> int:
        """The stream sequence up to which everything is here."""
        return int(self._session.rows("SELECT value FROM meta WHERE name = 'position'")[0][0])

    def watched(self) -> dict[UUID, Watched]:
        """All jobs that are watched."""
        rows = self._session.rows("SELECT job, url, origin FROM watched")
        return {UUID(bytes=bytes(job)): Watched(url, origin) for job, url, origin in rows}

    def store(self, changes: Changes, position: int, now: int) -> None:
        """Keep the changes and the position together; messages are due at once."""
        watch = [(job.bytes, watched.url, watched.origin) for job, watched in changes.watch.items()]
        messages = [
            (m.id, m.job.bytes, m.version, m.event, m.url, m.origin, m.made_at, now) for m in changes.messages
        ]
        with self._session.transaction():
            self._write(
                "INSERT INTO watched VALUES (?, ?, ?)"
                " ON CONFLICT (job) DO UPDATE SET url = excluded.url, origin = excluded.origin",
                watch,
            )
            self._write(
                "INSERT INTO messages (id, job, version, event, url, origin, made_at, due_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
                messages,
            )
            self._write("DELETE FROM watched WHERE job = ?", [(job.bytes,) for job in changes.forget])
            self._write("UPDATE meta SET value = ? WHERE name = 'position'", [(position,)])

    def due(self, now: int, limit: int, besides: Iterable[str] = ()) -> list[Message]:
        """Messages that are to be sent now, the longest due first, without those that are being sent."""
        sending = set(besides)
        rows = self._session.rows(
            "SELECT id, job, version, event, url, origin, made_at, attempts, body FROM messages"
            " WHERE due_at <= ? ORDER BY due_at LIMIT ?",
            (now, limit + len(sending)),
        )
        found = [
            Message(
                id=row[0],
                job=UUID(bytes=bytes(row[1])),
                version=row[2],
                event=row[3],
                url=row[4],
                origin=row[5],
                made_at=row[6],
                attempts=row[7],
                body=None if row[8] is None else bytes(row[8]),
            )
            for row in rows
            if row[0] not in sending
        ]
        return found[:limit]

    def next_due(self) -> int | None:
        """When the next message is due."""
        found = self._session.rows("SELECT min(due_at) FROM messages")[0][0]
        return None if found is None else int(found)

    def made(self, message: str, body: bytes) -> None:
        """The message's body, which every attempt sends alike."""
        self._write("UPDATE messages SET body = ? WHERE id = ?", [(body, message)])

    def again(self, message: str, due_at: int, answer: str) -> None:
        """An attempt failed, and another follows."""
        sql = "UPDATE messages SET attempts = attempts + 1, due_at = ?, answer = ? WHERE id = ?"
        self._write(sql, [(due_at, answer, message)])

    def done(self, message: str, outcome: str, answer: str, now: int) -> None:
        """No further attempt: `outcome` is delivered or failed."""
        with self._session.transaction():
            self._write(
                "UPDATE messages SET attempts = attempts + 1, due_at = NULL, body = NULL, outcome = ?,"
                " answer = ?, done_at = ? WHERE id = ?",
                [(outcome, answer, now, message)],
            )
            self._write("DELETE FROM messages WHERE done_at < ?", [(now - KEPT_US,)])

    def log(self) -> list[tuple[str, str, str, int, str | None]]:
        """(id, event, outcome, attempts, last answer) of all that is kept, oldest first."""
        rows = self._session.rows(
            "SELECT id, event, outcome, attempts, answer FROM messages ORDER BY made_at, id"
        )
        return [(row[0], row[1], row[2], row[3], row[4]) for row in rows]

    def _write(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            self._session.write(sql, rows)
