"""The one set of queries: filters to SQL, cursors, and the rows that come back as summaries.

Every page of jobs is "newest first" by (created_at, first_sequence). A filter that names no status is asked
once for each status the tenant has, and the short answers are merged: so three indexes that end in
(status, created_at) serve every combination, and none needs a sort.
"""

import base64
import binascii
import heapq
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final
from uuid import UUID

import msgspec

from shared.application.summary import OPEN, JobSummary, WorkerSummary, WorkflowSummary
from shared.readmodels.database import Row, Session
from shared.readmodels.errors import InvalidCursor

PAGE_LIMIT: Final = 500
# With fewer jobs than this in the wanted statuses, walking them beats walking a tag's jobs. A guess.
_FEW: Final = 5000


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
    rows = session.rows(sql, (tenant, alias))
    return _whole(rows[0]) if rows else None


def summary_of(doc: bytes) -> JobSummary:
    """A summary as it was stored, without input and output."""
    return _JOBS.decode(doc)


def page(session: Session, wanted: JobFilter, limit: int = 50, cursor: str | None = None) -> Page:
    """At most `limit` jobs that pass the filter, newest first, from behind `cursor`. Raises InvalidCursor."""
    limit = max(1, min(limit, PAGE_LIMIT))
    before = _position_of(cursor) if cursor else None
    with session.snapshot():
        branches = [
            session.rows(sql, [*parameters, limit + 1])
            for sql, parameters in _branches(wanted, before, _counts(session, wanted.tenant))
        ]
    rows = list(islice(heapq.merge(*branches, key=_newest_first), limit + 1))
    end = _cursor_of(rows[limit - 1]) if len(rows) > limit else None
    return Page([_JOBS.decode(row[2]) for row in rows[:limit]], end)


def counts(session: Session, tenant: str | None = None) -> dict[str, int]:
    """How many jobs there are in each status that has any."""
    totals: dict[str, int] = {}
    for (_, status), n in _counts(session, tenant).items():
        totals[status] = totals.get(status, 0) + n
    return totals


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
        for (tenant, status), _ in sorted(_counts(session, None).items()):
            if status in OPEN:
                for rows in session.stream(sql, (tenant, status), size):
                    yield at, [_JOBS.decode(row[0]) for row in rows]


def workers(session: Session) -> list[WorkerSummary]:
    """All workers ever seen, by name."""
    return [_WORKERS.decode(row[0]) for row in session.rows("SELECT doc FROM workers ORDER BY name, id")]


def workflows(session: Session, tenant: str) -> list[WorkflowSummary]:
    """The tenant's workflows that are not deleted, by name."""
    sql = "SELECT doc FROM workflows WHERE tenant = ? AND deleted = 0 ORDER BY name"
    return [_WORKFLOWS.decode(row[0]) for row in session.rows(sql, (tenant,))]


def workflow(session: Session, tenant: str, name: str) -> WorkflowSummary | None:
    """One workflow, also a deleted one."""
    sql = "SELECT doc FROM workflows WHERE tenant = ? AND name = ?"
    rows = session.rows(sql, (tenant, name))
    return _WORKFLOWS.decode(rows[0][0]) if rows else None


def poison(session: Session, limit: int = 100) -> list[PoisonCommit]:
    """The newest commits that could not become rows."""
    sql = "SELECT sequence, kind, id, at, reason, raw FROM poison ORDER BY sequence DESC LIMIT ?"
    return [PoisonCommit(*row) for row in session.rows(sql, (limit,))]


def poison_count(session: Session) -> int:
    return int(session.rows("SELECT count(*) FROM poison")[0][0])


_JOBS = msgspec.json.Decoder(JobSummary)
_WORKERS = msgspec.json.Decoder(WorkerSummary)
_WORKFLOWS = msgspec.json.Decoder(WorkflowSummary)
_ANY = msgspec.json.Decoder()


def _whole(row: Row) -> JobSummary:
    summary = _JOBS.decode(row[0])
    summary.input = None if row[1] is None else _ANY.decode(row[1])
    summary.output = None if row[2] is None else _ANY.decode(row[2])
    return summary


def _counts(session: Session, tenant: str | None) -> dict[tuple[str, str], int]:
    if tenant is None:
        rows = session.rows("SELECT tenant, status, n FROM counts")
    else:
        rows = session.rows("SELECT tenant, status, n FROM counts WHERE tenant = ?", (tenant,))
    return {(tenant, status): n for tenant, status, n in rows if n > 0}


def _branches(
    wanted: JobFilter, before: tuple[int, int] | None, counted: dict[tuple[str, str], int]
) -> Iterator[tuple[str, list[Any]]]:
    """The queries whose merged answers are the page; each lacks its last parameter, the limit."""
    counted = {key: n for key, n in counted.items() if not wanted.statuses or key[1] in wanted.statuses}
    tenants = sorted({tenant for tenant, _ in counted})
    many_tagged = bool(wanted.tags) and sum(counted.values()) > _FEW
    if many_tagged or wanted.alias is not None or wanted.parent is not None:
        for tenant in tenants:
            yield _select(wanted, before, tenant, None)
    else:
        for tenant, status in sorted(counted):
            yield _select(wanted, before, tenant, status)


def _select(
    wanted: JobFilter, before: tuple[int, int] | None, tenant: str, status: str | None
) -> tuple[str, list[Any]]:
    """One query along one index; without `status`, another index leads and the wanted are picked out."""
    table, where = "jobs AS j", ["j.tenant = ?"]
    parameters: list[Any] = [tenant]
    tags = list(wanted.tags)
    key = "j"
    if status is None and tags and wanted.alias is None and wanted.parent is None:
        # CROSS JOIN fixes the order for SQLite: walk the tag's jobs, newest first, and look each one up.
        table = "job_tags AS t CROSS JOIN jobs AS j"
        name, value = tags.pop(0)
        where = ["t.tenant = ?", "t.name = ?", "t.value = ?", "j.first_sequence = t.first_sequence"]
        parameters += [name, value]
        key = "t"
    conditions: list[tuple[str, Any]] = [
        ("j.workflow = ?", wanted.workflow),
        ("j.skill = ?", wanted.skill),
        ("j.alias = ?", wanted.alias),
        ("j.parent = ?", wanted.parent.bytes if wanted.parent else None),
        ("j.status = ?", status),
        (f"{key}.created_at >= ?", wanted.created_from),
        (f"{key}.created_at < ?", wanted.created_before),
    ]
    for condition, value in conditions:
        if value is not None:
            where.append(condition)
            parameters.append(value)
    if status is None and wanted.statuses:
        where.append(f"j.status IN ({', '.join('?' * len(wanted.statuses))})")
        parameters += sorted(wanted.statuses)
    for name, value in tags:
        where.append(
            "EXISTS (SELECT 1 FROM job_tags AS x WHERE x.tenant = j.tenant AND x.name = ? AND x.value = ?"
            " AND x.created_at = j.created_at AND x.first_sequence = j.first_sequence)"
        )
        parameters += [name, value]
    if before is not None:
        where.append(f"({key}.created_at, {key}.first_sequence) < (?, ?)")
        parameters += before
    sql = (
        f"SELECT j.created_at, j.first_sequence, j.doc FROM {table} WHERE {' AND '.join(where)}"  # noqa: S608
        f" ORDER BY {key}.created_at DESC, {key}.first_sequence DESC LIMIT ?"
    )
    return sql, parameters


def _newest_first(row: Row) -> tuple[int, int]:
    return -row[0], -row[1]


def _cursor_of(row: Row) -> str:
    return base64.urlsafe_b64encode(b"%d.%d" % (row[0], row[1])).decode().rstrip("=")


def _position_of(cursor: str) -> tuple[int, int]:
    try:
        text = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        created_at, first_sequence = (int(part) for part in text.split(b"."))
    except (ValueError, binascii.Error) as error:
        raise InvalidCursor(cursor) from error
    if not (0 <= created_at < 2**63 and 0 <= first_sequence < 2**63):
        raise InvalidCursor(cursor)
    return created_at, first_sequence
