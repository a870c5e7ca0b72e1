"""The one set of queries, for both backends, and the summaries that come back. Pages are in `pages`."""

from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import msgspec

from shared.application.reputation import Standing
from shared.application.summary import OPEN, JobSummary, WorkerSummary, WorkflowSummary
from shared.readmodels.database import Row, Session

AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs a page shows; what is None or empty does not filter.

    `tenant` None means all tenants. Several `statuses` mean any of them, several `tags` all of them.
    Times are microseconds since the epoch: `created_from` is inside the range, `created_before` is not.
    """

    tenant: str | None = None
    statuses: frozenset[str] = frozenset()
    workflow: str | None = None
    skill: str | None = None
    alias: str | None = None
    parent: UUID | None = None
    tags: tuple[tuple[str, str], ...] = ()
    created_from: int | None = None
    created_before: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Jobs without their inputs and outputs, and the cursor of the next page, None at the end."""

    jobs: list[JobSummary]
    next: str | None


@dataclass(frozen=True, slots=True)
class DueJob:
    """A job that somebody must look at. `due_at` is microseconds since the epoch."""

    id: UUID
    due_at: int


@dataclass(frozen=True, slots=True)
class PoisonCommit:
    """A commit that could not become rows, kept with the reason."""

    sequence: int
    kind: str
    id: str
    at: int
    reason: str
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Measures:
    """By workflow ("" for jobs of a skill alone): jobs by status, and tallies by name (see `tallies`)."""

    counts: dict[str, dict[str, int]]
    tallies: dict[str, dict[str, int]]


def position(session: Session) -> int:
    """The stream sequence up to which the rows hold everything."""
    return int(session.rows("SELECT value FROM meta WHERE name = 'position'")[0][0])


def job(session: Session, id: UUID) -> JobSummary | None:  # noqa: A002
    """One job with its input and output."""
    rows = session.rows("SELECT doc, input, output FROM jobs WHERE id = ?", (id.bytes,))
    return _whole(rows[0]) if rows else None


def job_by_alias(session: Session, tenant: str, alias: str) -> JobSummary | None:
    """The newest job of the tenant with this alias."""
    sql = """SELECT doc, input, output FROM jobs WHERE tenant = ? AND alias = ?
             ORDER BY created_at DESC, first_sequence DESC LIMIT 1"""
    rows = session.rows(sql, (tenant, alias)) if storable(tenant) and storable(alias) else []
    return _whole(rows[0]) if rows else None


def summary_of(doc: bytes) -> JobSummary:
    """A summary as it was stored, without input and output."""
    return _JOBS.decode(doc)


def counts(session: Session, tenant: str | None = None, owner: str | None = None) -> dict[str, int]:
    """How many jobs there are in each status that has any; with `owner` the tenant's jobs of that owner."""
    if owner is None:
        totals: dict[str, int] = {}
        for (_, status), n in counted(session, tenant).items():
            totals[status] = totals.get(status, 0) + n
        return totals
    sql = "SELECT status, sum(n) FROM counts WHERE tenant = ? AND owner = ? GROUP BY status"
    assert tenant is not None, "an owner is somebody in a tenant"
    rows = session.rows(sql, (tenant, owner)) if storable(tenant) and storable(owner) else []
    return {status: int(n) for status, n in rows if n > 0}


def counted(session: Session, tenant: str | None = None) -> dict[tuple[str, str], int]:
    """How many jobs each (tenant, status) has, where there are any."""
    sql = "SELECT tenant, status, sum(n) FROM counts {} GROUP BY tenant, status"
    if tenant is None:
        rows = session.rows(sql.format(""))
    else:
        rows = session.rows(sql.format("WHERE tenant = ?"), (tenant,)) if storable(tenant) else []
    return {(tenant, status): int(n) for tenant, status, n in rows if n > 0}


def measures(session: Session) -> Measures:
    """All counts and tallies by workflow, those of all tenants together."""
    sql = "SELECT workflow, status, sum(n) FROM counts GROUP BY workflow, status"
    found = Measures({}, {})
    for workflow, status, n in session.rows(sql):
        found.counts.setdefault(workflow, {})[status] = int(n)
    for name, workflow, n in session.rows("SELECT name, workflow, n FROM tallies"):
        found.tallies.setdefault(workflow, {})[name] = int(n)
    return found


def due_jobs(session: Session, now: int, limit: int = 100) -> list[DueJob]:
    """Jobs whose earliest open deadline is at or before `now` (microseconds), the most overdue first."""
    sql = "SELECT id, due_at FROM jobs WHERE due_at <= ? ORDER BY due_at LIMIT ?"
    return [DueJob(UUID(bytes=bytes(id_)), due_at) for id_, due_at in session.rows(sql, (now, limit))]


def open_jobs(session: Session, size: int = 500) -> Generator[tuple[int, list[JobSummary]], None, None]:
    """All jobs that have not ended, in lists, each with the position at which the whole answer is true.

    The first list is empty, so that the position always comes. Jobs come without their inputs.
    """
    sql = "SELECT doc FROM jobs WHERE tenant = ? AND status = ?"
    with session.snapshot():
        at = position(session)
        yield at, []
        for (tenant, status), _ in sorted(counted(session, None).items()):
            if status in OPEN:
                for rows in session.stream(sql, (tenant, status), size):
                    yield at, [_JOBS.decode(row[0]) for row in rows]


def workers(session: Session) -> list[WorkerSummary]:
    """All workers ever seen, by name."""
    return [_WORKERS.decode(row[0]) for row in session.rows("SELECT doc FROM workers ORDER BY name, id")]


def standing(session: Session, worker: UUID) -> Standing | None:
    """How a worker stands as of its last result; None when it has none."""
    rows = session.rows("SELECT doc FROM standings WHERE id = ?", (worker.bytes,))
    return _STANDINGS.decode(rows[0][0]) if rows else None


def standings(session: Session, workers: Collection[UUID]) -> dict[UUID, Standing]:
    """The same of many; those without a result are missing."""
    found: dict[UUID, Standing] = {}
    for some in batched([worker.bytes for worker in workers]):
        marks = ", ".join("?" * len(some))
        for id_, doc in session.rows(f"SELECT id, doc FROM standings WHERE id IN ({marks})", some):  # noqa: S608
            found[UUID(bytes=bytes(id_))] = _STANDINGS.decode(doc)
    return found


def workflows(session: Session, tenant: str) -> list[WorkflowSummary]:
    """The tenant's workflows that are not deleted, by name."""
    sql = "SELECT doc FROM workflows WHERE tenant = ? AND deleted = 0 ORDER BY name"
    return [_WORKFLOWS.decode(row[0]) for row in session.rows(sql, (tenant,))]


def workflow(session: Session, tenant: str, name: str) -> WorkflowSummary | None:
    """One workflow, also a deleted one."""
    sql = "SELECT doc FROM workflows WHERE tenant = ? AND name = ?"
    rows = session.rows(sql, (tenant, name)) if storable(tenant) and storable(name) else []
    return _WORKFLOWS.decode(rows[0][0]) if rows else None


def poison(session: Session, limit: int = 100) -> list[PoisonCommit]:
    """The newest commits that could not become rows."""
    sql = "SELECT sequence, kind, id, at, reason, raw FROM poison ORDER BY sequence DESC LIMIT ?"
    return [PoisonCommit(*row) for row in session.rows(sql, (limit,))]


def poison_count(session: Session) -> int:
    return int(session.rows("SELECT count(*) FROM poison")[0][0])


def batched(ids: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """The ids in parts that one query takes."""
    for start in range(0, len(ids), AT_ONCE):
        yield ids[start : start + AT_ONCE]


def storable(text: str) -> bool:
    """Whether a row can hold this text at all; a backend may refuse to look for any other."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


_JOBS = msgspec.json.Decoder(JobSummary)
_WORKERS = msgspec.json.Decoder(WorkerSummary)
_STANDINGS = msgspec.json.Decoder(Standing)
_WORKFLOWS = msgspec.json.Decoder(WorkflowSummary)
_ANY = msgspec.json.Decoder()


def _whole(row: Row) -> JobSummary:
    summary = _JOBS.decode(row[0])
    summary.input = None if row[1] is None else _ANY.decode(row[1])
    summary.output = None if row[2] is None else _ANY.decode(row[2])
    return summary
