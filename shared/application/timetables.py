"""Publishing a timetable: the schedules of one source become what they are now."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from shared.application.collecting import collected
from shared.application.ports import Decision, Journal, UnknownOutcome, VersionConflict
from shared.domain.schedule import Timetable, timetable_id
from shared.domain.values import Json

TRIES: Final = 5
"""How often a lost race is decided again: two schedulers that read one file at once, seldom more."""


class PublishTimetable:
    """The use case."""

    def __init__(self, journal: Journal, now: Callable[[], datetime]) -> None:
        self._journal, self._now = journal, now

    async def __call__(
        self, tenant: str, source: str, entries: Mapping[str, Mapping[str, Json]], by: str
    ) -> Timetable:
        """The timetable with just these entries. Publishing again is always safe.

        Raises InvalidValue that names a schedule, and JournalError.
        """
        key = timetable_id(tenant, source)
        for attempt in range(1, TRIES + 1):
            recorded = await self._journal.load(Timetable, key)
            timetable = (
                Timetable.named(tenant, source, self._now()) if recorded is None else recorded.aggregate
            )
            timetable.publish(entries, now=self._now())
            events = collected(timetable)
            if not events:
                return timetable
            try:
                tip = None if recorded is None else recorded.tip
                await self._journal.append(Decision("timetable", key, events, by, tip))
            except (VersionConflict, UnknownOutcome):
                if attempt == TRIES:
                    raise
                continue
            return timetable
        raise AssertionError("the last try returns or raises")

    async def in_force(self, tenant: str, source: str) -> Timetable | None:
        """What was published last, None when nothing ever was. Raises JournalError."""
        recorded = await self._journal.load(Timetable, timetable_id(tenant, source))
        return None if recorded is None else recorded.aggregate
