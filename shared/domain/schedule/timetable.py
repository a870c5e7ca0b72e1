"""The timetable aggregate: all schedules of one source, published together.

Each has the moment from which it counts, so that every scheduler plans the same times, also after a restart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final, Self
from uuid import UUID, uuid5

from eventsourcing.domain import Aggregate, AggregateEvent

from shared.domain.errors import InvalidValue
from shared.domain.recurring import Named, Recurring
from shared.domain.schedule.recurrence import recurrence_of
from shared.domain.schedule.schedule import CATCH_UPS, SCHEDULE_NAMESPACE, CatchUp, Schedule, schedule_id
from shared.domain.values import Json, to_us


def timetable_id(tenant: str, source: str) -> UUID:
    """The id of the timetable of one source of a tenant."""
    return uuid5(SCHEDULE_NAMESPACE, f"{tenant}/{source}")


@dataclass(frozen=True)
class TimetablePublished(Recurring):
    """The schedules are now these, by name: each {"when", "zone", "catch_up", "job", "since"}.

    `since` is microseconds since the epoch; `job` what the source says about the jobs, in its own words.
    """

    TOPIC: ClassVar[str] = "TimetablePublished"

    source: str
    schedules: dict[str, Json]
    tenant: str = ""

    def apply(self, aggregate: "Timetable") -> None:
        aggregate.source, aggregate.tenant = self.source, self.tenant
        aggregate.entries = {name: dict(_table(entry)) for name, entry in self.schedules.items()}


class Timetable(Named):
    """The schedules of one source."""

    TOPIC: ClassVar[str] = "Timetable"
    Event = Aggregate.Event
    Created = TimetablePublished  # type: ignore[assignment]  # it has fields of its own

    def begin(self) -> None:
        self.source = ""
        self.tenant = ""
        self.entries: dict[str, dict[str, Json]] = {}

    @classmethod
    def named(cls, tenant: str, source: str, now: datetime) -> Self:
        """A timetable without any schedule yet."""
        timetable = cls.blank(timetable_id(tenant, source), now)
        timetable.tenant, timetable.source = tenant, source
        return timetable

    def publish(self, entries: Mapping[str, Mapping[str, Json]], *, now: datetime) -> None:
        """Make `entries` ({"when", "zone", "catch_up", "job"} by name) the schedules; the same again is no
        event.

        One whose times stay the same goes on counting from where it did; any other begins now, so that nobody
        makes up for times that were planned before it was there. Raises InvalidValue that names the schedule.
        """
        published: dict[str, Json] = {}
        for name, entry in entries.items():
            before = self.entries.get(name, {})
            same = all(before.get(member) == entry[member] for member in ("when", "zone"))
            published[name] = {**entry, "since": before["since"] if same else to_us(now)}
            _schedule(self.tenant, self.source, name, _table(published[name]))
        if published != self.entries:
            self.trigger_event(
                TimetablePublished,
                timestamp=now,
                originator_topic=self.TOPIC,
                source=self.source,
                tenant=self.tenant,
                schedules=published,
            )

    def schedules(self) -> dict[str, Schedule]:
        """The schedules by name."""
        return {
            name: _schedule(self.tenant, self.source, name, entry) for name, entry in self.entries.items()
        }

    def job(self, name: str) -> dict[str, Json]:
        """What the source says about the jobs of a schedule."""
        return _table(self.entries[name]["job"])


def _schedule(tenant: str, source: str, name: str, entry: Mapping[str, Json]) -> Schedule:
    since_us, catch_up = entry["since"], entry["catch_up"]
    assert isinstance(since_us, int)
    since = _EPOCH + timedelta(microseconds=since_us)
    try:
        recurrence = recurrence_of(_table(entry["when"]), str(entry["zone"]), since)
    except InvalidValue as error:
        raise InvalidValue(f"schedule {name!r}: {error}") from error
    return Schedule(schedule_id(tenant, source, name), recurrence, since, _catch_up(name, catch_up))


def _catch_up(name: str, word: Json) -> CatchUp:
    for known in CATCH_UPS:
        if word == known:
            return known
    raise InvalidValue(f"schedule {name!r}: catch_up is {' or '.join(CATCH_UPS)}, not {word!r}")


def _table(value: Any) -> dict[str, Json]:
    assert isinstance(value, dict)
    return value


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

EVENTS: Final[tuple[type[AggregateEvent], ...]] = (TimetablePublished,)
