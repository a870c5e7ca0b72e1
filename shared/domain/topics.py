"""The names that events and aggregates are stored under."""

from typing import Final

from eventsourcing.domain import Aggregate, AggregateEvent

from shared.domain.job.events import JobEvent, TaskOffered
from shared.domain.job.job import Job

AGGREGATES: Final[dict[str, type[Aggregate]]] = {"job": Job}
"""The aggregate class of each kind, as kinds stand in subjects."""


def _events_of(base: type[AggregateEvent]) -> dict[str, type[AggregateEvent]]:
    found: dict[str, type[AggregateEvent]] = {}
    for subclass in base.__subclasses__():
        if subclass is not TaskOffered:
            found[subclass.__name__] = subclass
        found.update(_events_of(subclass))
    return found


EVENTS: Final[dict[str, type[AggregateEvent]]] = {**_events_of(JobEvent)}
"""The event class of each topic."""
