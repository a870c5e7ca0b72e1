"""`schedules.toml` (SCHEDULES_CONFIG_PATH): a table a schedule, as users of blueprints have always written.

Nothing in it is passed over: a member that nobody knows, a time that can never come and two ways of saying
when are errors that name the schedule.
"""

import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from services.scheduler.timetable_file import BadSchedules, Entries
from shared.domain.errors import InvalidValue
from shared.domain.metadata import RESERVED, reserved_in
from shared.domain.schedule import recurrence_of, zone_of
from shared.domain.schedule.schedule import CATCH_UPS
from shared.domain.values import Json

CALENDAR: Final = ("daily_at", "weekly_days", "monthly_dates", "time")
DATA: Final = ("input_data", "initial_data")
"""Two words for what its jobs begin with."""
OURS: Final = ("timezone", "catch_up")
KNOWN: Final = frozenset(
    {"blueprint", *DATA, "enabled", "interval_seconds", "dispatch_timeout", "result_timeout", "security"}
    | {"metadata", *CALENDAR, *OURS}
)


def reader(zone: str) -> Callable[[Path], Entries]:
    """Reads files whose times are meant in `zone`, where a schedule names no other."""

    def read(file: Path) -> Entries:
        return read_schedules(file, zone)

    return read


def read_schedules(file: Path, zone: str) -> Entries:
    """The schedules of a file as a timetable takes them. Raises BadSchedules that tells all that is wrong."""
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadSchedules(f"{file}: {error}") from error
    entries: dict[str, Mapping[str, Json]] = {}
    problems: list[str] = []
    for name, table in tables.items():
        if not isinstance(table, dict):
            problems.append(f"{name!r} is not a table: a schedule is a table of its own")
            continue
        found = list(_problems(table, zone))
        problems += [f"schedule {name!r}: {problem}" for problem in found]
        if not found and table.get("enabled", True):
            entries[name] = _entry(table, zone)
    if problems:
        raise BadSchedules(f"{file}: " + "; ".join(problems))
    return entries


def _entry(table: Mapping[str, Any], zone: str) -> Mapping[str, Json]:
    optional = ("dispatch_timeout", "result_timeout", "security", "metadata")
    job = {name: table[name] for name in optional if name in table}
    data: Mapping[str, Json] = next((table[name] for name in DATA if name in table), {})
    return {
        "when": _when(table),
        "zone": table.get("timezone", zone),
        # As users know it: an interval that was missed is made up for once, a time of day is not.
        "catch_up": table.get("catch_up", "once" if "interval_seconds" in table else "skip"),
        "job": {"blueprint": table["blueprint"], "input_data": data, **job},
    }


def _when(table: Mapping[str, Any]) -> dict[str, Json]:
    if "interval_seconds" in table:
        return {"every": table["interval_seconds"]}
    when: dict[str, Json] = {"at": table["daily_at"] if "daily_at" in table else table["time"]}
    if "weekly_days" in table:
        days = table["weekly_days"]
        listed = isinstance(days, list)
        when["weekdays"] = [day.lower() if isinstance(day, str) else day for day in days] if listed else days
    if "monthly_dates" in table:
        when["dates"] = table["monthly_dates"]
    return when


def _problems(table: Mapping[str, Any], zone: str) -> Iterator[str]:
    unknown = sorted(table.keys() - KNOWN)
    if unknown:
        yield f"nobody knows {', '.join(map(repr, unknown))}; known are {', '.join(sorted(KNOWN))}"
    if not isinstance(table.get("blueprint"), str) or not table["blueprint"]:
        yield "it needs a 'blueprint', which is a string"
    yield from _problems_of_times(table, zone)
    if all(name in table for name in DATA):
        yield f"{' and '.join(map(repr, DATA))} are one and the same: keep one"
    if not isinstance(table.get("enabled", True), bool):
        yield f"'enabled' is true or false, not {table['enabled']!r}"
    for name in (*DATA, "security", "metadata"):
        value = table.get(name, {})
        if not isinstance(value, dict):
            yield f"{name!r} is not a table"
        else:
            yield from _not_json(value, name)
    if isinstance(table.get("metadata"), dict) and reserved_in(table["metadata"]):
        yield f"'metadata': keys that begin with {RESERVED!r} are the server's"
    for name in ("dispatch_timeout", "result_timeout"):
        value = table.get(name, 1)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= 315_360_000:
            yield f"{name!r} must be a whole number of seconds above 0, not {value!r}"


def _problems_of_times(table: Mapping[str, Any], zone: str) -> Iterator[str]:
    calendar = [name for name in CALENDAR if name in table]
    if table.get("catch_up", CATCH_UPS[0]) not in CATCH_UPS:
        yield f"'catch_up' is {' or '.join(CATCH_UPS)}, not {table['catch_up']!r}"
    if "interval_seconds" in table and calendar:
        yield f"'interval_seconds' and {', '.join(map(repr, calendar))} are two ways of saying when: keep one"
    elif "daily_at" in table and "time" in table:
        yield "'daily_at' and 'time' are two times: keep one"
    elif calendar and "daily_at" not in table and "time" not in table:
        yield f"{' and '.join(map(repr, calendar))} needs a 'time'"
    elif not calendar and "interval_seconds" not in table:
        yield "it says no time: 'interval_seconds', 'daily_at', or a 'time' and its days"
    else:
        try:
            if "timezone" in table:
                zone_of(str(table["timezone"]))
            recurrence_of(_when(table), str(table.get("timezone", zone)), _ANY)
        except InvalidValue as error:
            yield str(error)


def _not_json(value: Any, where: str) -> Iterator[str]:
    """What a job cannot be given: TOML's dates, numbers that are none, integers beyond 64 bits."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _not_json(item, f"{where}.{key}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _not_json(item, f"{where}[{number}]")
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield f"'{where}' is not a number: {value}"
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            yield f"'{where}' has more than 64 bits: {value}"
    elif not isinstance(value, str):
        yield f"'{where}' is a date or a time: write it as a string"


_ANY: Final = datetime(2000, 1, 1, tzinfo=UTC)
