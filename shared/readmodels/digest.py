"""Proof that two stores hold the same: one digest over every row, and where they differ if they do."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from shared.readmodels.database import Row, Session
from shared.readmodels.schema import KEYS


@dataclass(frozen=True, slots=True)
class Difference:
    """The first row that two stores do not share, in shortened form; None where one has no such row."""

    table: str
    key: str
    served: str | None
    rebuilt: str | None


def digest(session: Session, count: Callable[[int], None] | None = None) -> str:
    """SHA-256, in hex, over all rows of all tables in the order of their keys. Call it inside a snapshot.

    Everything counts that derives from the journal; the position does not, so compare at equal positions.
    `count` is told how many rows are done, now and then.
    """
    total = sha256()
    encode = msgspec.msgpack.Encoder().encode
    done = 0
    for table in KEYS:
        total.update(encode(table))
        for rows in _tables_rows(session, table):
            total.update(b"".join(map(encode, rows)))
            done += len(rows)
            if count is not None:
                count(done)
    return total.hexdigest()


def first_difference(served: Session, rebuilt: Session) -> Difference | None:
    """The first row in key order that is not the same in both; None when there is none. Inside snapshots."""
    for table, key in KEYS.items():
        width = len(key.split(","))
        left, right = _singly(served, table), _singly(rebuilt, table)
        a, b = next(left, None), next(right, None)
        while a is not None or b is not None:
            if a != b:
                return _difference(table, width, a, b)
            a, b = next(left, None), next(right, None)
    return None


def _difference(table: str, width: int, a: Row | None, b: Row | None) -> Difference:
    # The rows are selected key first, so the smaller key is the one that the other store lacks.
    if a is not None and b is not None and a[:width] != b[:width]:
        a, b = (a, None) if a[:width] < b[:width] else (None, b)
    row = a if a is not None else b
    assert row is not None
    served, rebuilt = (None if each is None else _short(each[width:]) for each in (a, b))
    return Difference(table, _short(row[:width]), served, rebuilt)


def _short(row: Row) -> str:
    shown = (value.hex() if isinstance(value, bytes) and len(value) == 16 else value for value in row)
    return ", ".join(repr(value)[:2000] for value in shown)


def _singly(session: Session, table: str) -> Iterator[Row]:
    for rows in _tables_rows(session, table):
        yield from rows


def _tables_rows(session: Session, table: str) -> Iterator[list[Row]]:
    key = KEYS[table]
    return session.stream(f"SELECT {key}, r.* FROM {table} AS r ORDER BY {key}", size=1000)  # noqa: S608
