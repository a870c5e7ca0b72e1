"""The names that events and aggregates are stored under."""

from typing import Final

from eventsourcing.domain import Aggregate, AggregateEvent

from shared.domain import worker, workflow
from shared.domain.job import Job, events, node_events
from shared.domain.schedule import Timetable, timetable
from shared.domain.worker import Worker
from shared.domain.workflow import Workflow

AGGREGATES: Final[dict[str, type[Aggregate]]] = {
    "job": Job,
    "workflow": Workflow,
    "worker": Worker,
    "timetable": Timetable,
}
"""The aggregate class of each kind, as kinds stand in subjects."""

_ALL: Final = (
    *events.EVENTS,
    *node_events.EVENTS,
    *workflow.EVENTS,
    *worker.EVENTS,
    *timetable.EVENTS,
)

EVENTS: Final[dict[str, type[AggregateEvent]]] = {event.__name__: event for event in _ALL}
"""The event class of each topic."""
