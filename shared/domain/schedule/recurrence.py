"""When: the planned times of a schedule, each a moment in UTC.

What gives the next planned time is a recurrence, whatever it is made of; one made of a cron expression would
be another.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import count
from typing import Final, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from shared.domain.errors import InvalidValue
from shared.domain.values import LONGEST_SECONDS, Json

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Recurrence(Protocol):
    """Planned times, in order, without an end."""

    def after(self, moment: datetime) -> datetime:
        """The first planned time behind `moment`, in UTC."""
        ...


@dataclass(frozen=True, slots=True)
class Every:
    """Each `span` from `since` on; `since` is the first."""

    span: timedelta
    since: datetime

    def after(self, moment: datetime) -> datetime:
        return self.since + max(0, (moment - self.since) // self.span + 1) * self.span


@dataclass(frozen=True, slots=True)
class Calendar:
    """At `at` in `zone` on each day that is one of `weekdays` (0 is Monday) and of `dates`; empty means all.

    A time that the clocks skip is meant by the offset before the change, so it comes as much later by the
    clock as was skipped; of a time that comes twice the first is meant. Source: RFC 5545, section 3.3.5.
    """

    at: time
    zone: tzinfo
    weekdays: frozenset[int] = frozenset()
    dates: frozenset[int] = frozenset()

    def after(self, moment: datetime) -> datetime:
        # A day earlier than need be: where a zone jumped over a date, its planned time is a day late.
        first = moment.astimezone(self.zone).date() - timedelta(days=1)
        days = (first + timedelta(days=n) for n in count())
        return next(planned for day in days if self._is_on(day) and (planned := self._on(day)) > moment)

    def _is_on(self, day: date) -> bool:
        return (not self.weekdays or day.weekday() in self.weekdays) and (
            not self.dates or day.day in self.dates
        )

    def _on(self, day: date) -> datetime:
        # fold=0, the default, is just what the RFC asks for, in a gap and in a fold.
        return datetime.combine(day, self.at, self.zone).astimezone(UTC)


def newest(recurrence: Recurrence, after: datetime, until: datetime) -> datetime | None:
    """The last planned time behind `after` and not behind `until`, None when there is none.

    It looks back from `until`, further and further, so that a year of downtime costs no more than an hour.
    """
    for span in _LOOKS:
        if until - span <= after:
            break
        found = _last(recurrence, until - span, until)
        if found is not None:
            return found
    return _last(recurrence, after, until)


def _last(recurrence: Recurrence, after: datetime, until: datetime) -> datetime | None:
    found, planned = None, recurrence.after(after)
    while planned <= until:
        found, planned = planned, recurrence.after(planned)
    return found


def recurrence_of(when: Mapping[str, Json], zone: str, since: datetime) -> Recurrence:
    """The recurrence that a document tells of: {"every": seconds} or {"at": "HH:MM", "weekdays"?, "dates"?}.

    Raises InvalidValue that names the member.
    """
    unknown = when.keys() - {"every", "at", "weekdays", "dates"}
    if unknown or ("every" in when) == ("at" in when) or ("every" in when and len(when) > 1):
        raise InvalidValue(f"{dict(when)!r} is neither an interval nor a time of day")
    if "every" in when:
        seconds = when["every"]
        if isinstance(seconds, bool) or not isinstance(seconds, int) or not 1 <= seconds <= LONGEST_SECONDS:
            raise InvalidValue(f"an interval is a whole number of seconds, at least 1, not {seconds!r}")
        return Every(timedelta(seconds=seconds), since)
    return Calendar(
        _time_of(when["at"]), zone_of(zone), _weekdays(when.get("weekdays")), _dates(when.get("dates"))
    )


def zone_of(name: str) -> tzinfo:
    """The time zone of that name in the tz database, like "Europe/Berlin". Raises InvalidValue."""
    if name == "UTC":
        return UTC  # also where there is no tz database
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidValue(f"{name!r} is no time zone that this machine knows, like Europe/Berlin") from error


def _time_of(text: Json) -> time:
    if (
        isinstance(text, str)
        and len(text) == 5
        and text[2] == ":"
        and text.isascii()
        and (text[:2] + text[3:]).isdigit()
    ):
        hour, minute = int(text[:2]), int(text[3:])
        if hour < 24 and minute < 60:
            return time(hour, minute)
    raise InvalidValue(f'a time is "HH:MM", like "02:00", not {text!r}')


def _weekdays(names: Json) -> frozenset[int]:
    if names is None:
        return frozenset()
    if not isinstance(names, list) or not names or not all(name in WEEKDAYS for name in names):
        raise InvalidValue(f"weekdays are a list of {', '.join(WEEKDAYS)}, not {names!r}")
    return frozenset(WEEKDAYS.index(str(name)) for name in names)


def _dates(numbers: Json) -> frozenset[int]:
    if numbers is None:
        return frozenset()
    if not isinstance(numbers, list) or not numbers:
        raise InvalidValue(f"dates are a list of days of the month, 1 to 31, not {numbers!r}")
    found = set()
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 31:
            raise InvalidValue(f"a day of the month is a number from 1 to 31, not {number!r}")
        found.add(number)
    return frozenset(found)


_LOOKS: Final = (timedelta(hours=1), timedelta(days=2), timedelta(days=70))
