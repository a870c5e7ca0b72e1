"""The file of the schedules: read at the start and when it changes; the last good one stays in force."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from services.scheduler.clockwork import Clockwork
from shared.application.ports import JournalError
from shared.application.timetables import PublishTimetable
from shared.broker.errors import BrokerError
from shared.domain.errors import InvalidValue
from shared.domain.values import Json
from shared.file_stamp import stamp_of
from shared.settings import UnusableFile

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
"""How often the file is looked at."""
BY: Final = "system:scheduler"

Entries = Mapping[str, Mapping[str, Json]]


class BadSchedules(UnusableFile):
    """The file cannot be used. The message names the file, and in it each schedule that is wrong."""


class TimetableFile:
    """Keeps a timetable as its file says."""

    def __init__(
        self,
        file: Path | None,
        read: Callable[[Path], Entries],
        publish: PublishTimetable,
        clockwork: Clockwork,
        *,
        tenant: str,
        source: str,
    ) -> None:
        """`read` raises BadSchedules. Without a file there are no schedules."""
        self._file, self._read, self._publish, self._clockwork = file, read, publish, clockwork
        self._tenant, self._source = tenant, source
        self._stamp = stamp_of(file)
        self._entries: Entries | None = {}
        self._trouble = ""

    async def open(self) -> None:
        """Read the file for the first time.

        Raises BadSchedules unless schedules are in force already: a system does not begin with schedules that
        nobody understands, but one that was restarted goes on with those it had.
        """
        if self._file is None:
            return
        try:
            self._entries = self._read(self._file)
        except BadSchedules as problem:
            timetable = await self._publish.in_force(self._tenant, self._source)
            if timetable is None or not timetable.entries:
                raise
            log.error("%s; the schedules stay as they were", problem)
            self._entries = None
            self._clockwork.set(timetable)

    async def run(self, stopping: asyncio.Event) -> None:
        """Publish what the file says, now and after each change."""
        while not stopping.is_set():
            self._look()
            if self._entries is not None:
                await self._put_in_force(self._entries)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), LOOK_SECONDS)

    def _look(self) -> None:
        stamp = stamp_of(self._file)
        if self._file is None or stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._entries = self._read(self._file)
        except BadSchedules as problem:
            log.error("%s; the schedules stay as they were", problem)

    async def _put_in_force(self, entries: Entries) -> None:
        try:
            timetable = await self._publish(self._tenant, self._source, entries, BY)
        except (JournalError, BrokerError) as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                log.warning("the schedules wait to be published: %s", error)
            return
        except InvalidValue as error:
            log.error("%s: %s; the schedules stay as they were", self._file, error)
            self._entries = None
            return
        self._entries, self._trouble = None, ""
        self._clockwork.set(timetable)
        if self._file is not None:
            log.info("%d schedules are in force from %s", len(timetable.entries), self._file)
