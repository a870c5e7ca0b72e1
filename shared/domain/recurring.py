"""Aggregates that are named before they have a history, whose first event can come again later."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from eventsourcing.domain import Aggregate, CanMutateAggregate
from eventsourcing.utils import resolve_topic


class Named(Aggregate):
    """An aggregate of version 0 until its first event."""

    @classmethod
    def blank(cls, id: UUID, now: datetime) -> Self:  # noqa: A002
        """The aggregate before anything happened to it."""
        named = cls.__new__(cls)
        named.__base_init__(id, 0, now)
        named.begin()
        return named

    def begin(self) -> None:
        """The state before the first event."""


@dataclass(frozen=True)
class Recurring(Aggregate.Created):
    """An event that begins a history, or goes on with it."""

    def mutate(self, aggregate: Any) -> Any:
        """The aggregate with this event applied; a new one when there is none yet."""
        if aggregate is None:
            aggregate = resolve_topic(self.originator_topic).blank(self.originator_id, self.timestamp)
        return CanMutateAggregate.mutate(self, aggregate)
