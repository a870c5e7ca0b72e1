"""A small aggregate for the tests of the journal: an account book with a queue of errands."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from eventsourcing.domain import Aggregate, AggregateCreated, AggregateEvent
from eventsourcing.utils import register_topic

LEDGER = "ledger"
Event = AggregateEvent


class Ledger(Aggregate):
    """Entries in the order in which they were written."""

    entries: list[Any]
    released: list[int]


@dataclass(frozen=True)
class LedgerOpened(AggregateCreated):
    """The first event."""

    owner: str = "nobody"

    def mutate(self, aggregate: Any) -> Any:
        ledger = object.__new__(Ledger)
        ledger.__base_init__(self.originator_id, self.originator_version, self.timestamp)
        ledger.entries, ledger.released = [], []
        return ledger


@dataclass(frozen=True)
class EntryWritten(AggregateEvent):
    """Some value was written."""

    value: Any = None
    note: str = ""

    def apply(self, aggregate: Any) -> None:
        aggregate.entries.append(self.value)


@dataclass(frozen=True)
class TaskReleased(AggregateEvent):
    """An errand for a worker: ends a commit, as the real one does."""

    task: int = 0
    skill: str = ""
    input: Any = None

    def apply(self, aggregate: Any) -> None:
        aggregate.released.append(self.task)


EVENTS: dict[str, type[AggregateEvent]] = {
    "LedgerOpened": LedgerOpened,
    "EntryWritten": EntryWritten,
    "TaskReleased": TaskReleased,
}
KINDS: dict[str, type[Aggregate]] = {LEDGER: Ledger}

register_topic("Ledger", Ledger)


def opened(id: UUID, at: datetime, owner: str = "nobody") -> LedgerOpened:  # noqa: A002
    return LedgerOpened(
        originator_topic="Ledger", originator_id=id, originator_version=1, timestamp=at, owner=owner
    )


def written(id: UUID, version: int, at: datetime, value: Any) -> EntryWritten:  # noqa: A002
    return EntryWritten(originator_id=id, originator_version=version, timestamp=at, value=value)


def released(id: UUID, version: int, at: datetime, task: int, skill: str) -> TaskReleased:  # noqa: A002
    return TaskReleased(
        originator_id=id, originator_version=version, timestamp=at, task=task, skill=skill, input={"n": task}
    )
