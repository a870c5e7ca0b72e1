"""Pages of jobs, newest first, by any combination of filters.

The order is (created_at, first_sequence), and each index ends in it, so a page is a short walk along one
index and nothing is sorted. One filter leads, by its index; the others are tried on each row of the walk.
The one that fewest jobs pass leads, because then even a walk over all of them is short. When a page is
asked from several walks (one a tenant, one a status), their short answers are merged.
"""

import base64
import binascii
import heapq
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from typing import Any, Final, Literal

from shared.readmodels import queries
from shared.readmodels.database import Row, Session
from shared.readmodels.errors import InvalidCursor
from shared.readmodels.queries import JobFilter, Page

PAGE_LIMIT: Final = 500
# Counting so far takes about 1 ms; a walk over so many rows that do not fit takes 30 to 80 ms (measured).
_MANY: Final = 15_000

_Lead = Literal["parent", "alias", "tag", "workflow", "skill", "status"]


def page(session: Session, wanted: JobFilter, limit: int = 50, cursor: str | None = None) -> Page:
    """At most `limit` jobs that pass the filter, newest first, from behind `cursor`. Raises InvalidCursor."""
    limit = max(1, min(limit, PAGE_LIMIT))
    before = _position_of(cursor) if cursor else None
    texts = [wanted.tenant, wanted.workflow, wanted.skill, wanted.alias, *chain.from_iterable(wanted.tags)]
    if not all(text is None or queries.storable(text) for text in (*texts, *wanted.statuses)):
        return Page([], None)
    with session.snapshot():
        counted = queries.counted(session, wanted.tenant)
        fitting = {key: n for key, n in counted.items() if not wanted.statuses or key[1] in wanted.statuses}
        lead, wanted = _lead(session, wanted, fitting)
        walks = [
            session.rows(sql, [*parameters, limit + 1])
            for sql, parameters in _walks(wanted, lead, before, fitting)
        ]
    rows = list(islice(heapq.merge(*walks, key=_newest_first), limit + 1))
    end = _cursor_of(rows[limit - 1]) if len(rows) > limit else None
    return Page([queries.summary_of(row[2]) for row in rows[:limit]], end)


def _lead(
    session: Session, wanted: JobFilter, fitting: Mapping[tuple[str, str], int]
) -> tuple[_Lead, JobFilter]:
    """The filter that fewest jobs pass, as far as a short count can tell; if it is a tag, now the first."""
    if wanted.parent is not None:
        return "parent", wanted
    if wanted.alias is not None:
        return "alias", wanted
    leads: list[tuple[_Lead, JobFilter, str, tuple[str, ...]]] = []
    for tag in wanted.tags:
        others = tuple(other for other in wanted.tags if other != tag)
        reordered = replace(wanted, tags=(tag, *others))
        leads.append(("tag", reordered, "job_tags WHERE tenant = ? AND name = ? AND value = ?", tag))
    if wanted.workflow is not None:
        leads.append(("workflow", wanted, "jobs WHERE tenant = ? AND workflow = ?", (wanted.workflow,)))
    if wanted.skill is not None:
        leads.append(("skill", wanted, "jobs WHERE tenant = ? AND skill = ?", (wanted.skill,)))
    if not leads:
        return "status", wanted
    if len(leads) == 1 and not wanted.statuses:
        return leads[0][:2]
    tenants = {tenant for tenant, _ in fitting}
    ranked: list[tuple[int, _Lead, JobFilter]] = []
    for lead, as_wanted, source, values in leads:
        sql = f"SELECT count(*) FROM (SELECT 1 FROM {source} LIMIT ?) AS counted"  # noqa: S608
        n = sum(session.rows(sql, (tenant, *values, _MANY))[0][0] for tenant in tenants)
        ranked.append((n, lead, as_wanted))
    if wanted.statuses:
        ranked.append((min(sum(fitting.values()), _MANY), "status", wanted))
    _, lead, wanted = min(ranked, key=lambda each: each[0])
    return lead, wanted


def _walks(
    wanted: JobFilter,
    lead: _Lead,
    before: tuple[int, int] | None,
    fitting: Mapping[tuple[str, str], int],
) -> Iterator[tuple[str, list[Any]]]:
    """The queries whose merged answers are the page; each lacks its last parameter, the limit."""
    if lead == "status":
        for tenant, status in sorted(fitting):
            yield _walk(wanted, before, lead, tenant, (status,))
    else:
        for tenant in sorted({tenant for tenant, _ in fitting}):
            yield _walk(wanted, before, lead, tenant, sorted(wanted.statuses))


def _walk(
    wanted: JobFilter,
    before: tuple[int, int] | None,
    lead: _Lead,
    tenant: str,
    statuses: tuple[str, ...] | list[str],
) -> tuple[str, list[Any]]:
    where: list[str] = []
    parameters: list[Any] = []

    def must(condition: str, *values: Any) -> None:
        where.append(condition)
        parameters.extend(values)

    tags = wanted.tags
    if lead == "tag":
        # CROSS JOIN fixes the order for SQLite: walk the tag's jobs and look each of them up.
        source, key = "job_tags AS t CROSS JOIN jobs AS j", "t"
        must("t.tenant = ? AND t.name = ? AND t.value = ?", tenant, *tags[0])
        must("j.first_sequence = t.first_sequence")
        tags = tags[1:]
    else:
        source, key = "jobs AS j", "j"
        must("COALESCE(j.tenant, '') = ?" if lead == "parent" else "j.tenant = ?", tenant)
    if wanted.parent is not None:
        must("j.parent = ?", wanted.parent.bytes)
    for column, value in (("alias", wanted.alias), ("workflow", wanted.workflow), ("skill", wanted.skill)):
        if value is not None:
            must(f"{_led(column, lead)} = ?", value)
    if statuses:
        must(f"{_led('status', lead)} IN ({', '.join('?' * len(statuses))})", *statuses)
    for tag in tags:
        must(
            "EXISTS (SELECT 1 FROM job_tags AS x WHERE x.tenant = j.tenant AND x.name = ? AND x.value = ?"
            " AND x.created_at = j.created_at AND x.first_sequence = j.first_sequence)",
            *tag,
        )
    if wanted.created_from is not None:
        must(f"{key}.created_at >= ?", wanted.created_from)
    if wanted.created_before is not None:
        must(f"{key}.created_at < ?", wanted.created_before)
    if before is not None:
        must(f"({key}.created_at, {key}.first_sequence) < (?, ?)", *before)
    sql = (
        f"SELECT j.created_at, j.first_sequence, j.doc FROM {source} WHERE {' AND '.join(where)}"  # noqa: S608
        f" ORDER BY {key}.created_at DESC, {key}.first_sequence DESC LIMIT ?"
    )
    return sql, parameters


def _led(column: str, lead: _Lead) -> str:
    """The column, hidden from the planner unless it leads: the choice of the index is ours."""
    return f"j.{column}" if column == lead else f"COALESCE(j.{column}, '')"


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
