"""Schedules: looks at the clock and has each fire made the job that follows from it, once.

A fire is safe to repeat, whoever repeats it, because its job has the fire's id. So nothing is locked and
nothing is written down about what was done: after a restart the newest time that has come is asked for again.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from shared.application.definitions import UnknownWorkflow
from shared.application.ports import JournalError
from shared.application.submit import KeyReused
from shared.broker.errors import BrokerError
from shared.domain.errors import DomainError
from shared.domain.schedule import Fire, Schedule, Timetable
from shared.domain.values import Json

log = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS: Final = 0.5
"""Between two looks at the clock, which may be set anew meanwhile."""
LONGEST_WAIT: Final = timedelta(seconds=30)
"""Before a fire that could not be made a job is tried again."""


class Firing(Protocol):
    """Makes fires jobs."""

    async def fire(self, name: str, job: Mapping[str, Json], fire: Fire) -> bool:
        """Whether this call made the job; False when it was there before.

        Raises JournalError, BrokerError and UnknownWorkflow, when it is to be tried again, and DomainError
        when it can never be.
        """
        ...

    async def has_fired(self, fire: Fire) -> bool:
        """Whether the fire's job is there. Raises JournalError and BrokerError."""
        ...


@dataclass(slots=True)
class _Hand:
    """One schedule, the last planned time that is settled, and when to look at it next."""

    name: str
    schedule: Schedule
    job: Mapping[str, Json]
    look_at: datetime
    handled: datetime | None = None
    failures: int = 0
    told: set[str] = field(default_factory=set)


class Clockwork:
    """Fires the schedules of a timetable. `set` may come at any time."""

    def __init__(self, firing: Firing, now: Callable[[], datetime]) -> None:
        self._firing, self._now = firing, now
        self._hands: dict[UUID, _Hand] = {}
        self._changed = asyncio.Event()

    def set(self, timetable: Timetable) -> None:
        """Fire these schedules from now on. What is settled stays settled while a schedule's times do."""
        before, self._hands = self._hands, {}
        for name, schedule in timetable.schedules().items():
            hand = _Hand(name, schedule, timetable.job(name), self._now())
            known = before.get(schedule.id)
            if known is not None and known.schedule.since == schedule.since:
                hand.handled = known.handled
            self._hands[schedule.id] = hand
        self._changed.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Fire until `stopping` is set."""
        while not stopping.is_set():
            self._changed.clear()
            await self.tick()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._pause())

    async def tick(self) -> None:
        """Settle what is due."""
        now = self._now()
        due = [hand for hand in self._hands.values() if hand.look_at <= now]
        await asyncio.gather(*(self._settle(hand, now) for hand in due))

    def _pause(self) -> float:
        """Seconds until something is due, as far as can be said."""
        now = self._now()
        waits = [(hand.look_at - now).total_seconds() for hand in self._hands.values()]
        return max(0.0, min([LONGEST_PAUSE_SECONDS, *waits]))

    async def _settle(self, hand: _Hand, now: datetime) -> None:
        fire = hand.schedule.due(now, hand.handled)
        if fire is None:
            hand.look_at = hand.schedule.next_after(now)
            return
        try:
            await self._fire(hand, fire, now)
        except (JournalError, BrokerError, UnknownWorkflow) as error:
            self._tell(hand, fire, f"waits: {error}")
            hand.failures += 1
            hand.look_at = now + min(timedelta(seconds=2 ** min(hand.failures - 1, 8)), LONGEST_WAIT)
            return
        except (DomainError, KeyReused) as error:
            log.error("schedule %r: nothing runs for %s: %s", hand.name, _shown(fire), error)
        hand.handled, hand.failures = fire.planned, 0
        hand.told.clear()
        hand.look_at = hand.schedule.next_after(fire.planned)

    async def _fire(self, hand: _Hand, fire: Fire, now: datetime) -> None:
        if not hand.schedule.is_missed(fire, now):
            if await self._firing.fire(hand.name, hand.job, fire):
                log.info("schedule %r: job %s for %s", hand.name, fire.job, _shown(fire))
        elif not await self._firing.has_fired(fire):
            log.warning("schedule %r: %s was missed, and is not made up for", hand.name, _shown(fire))

    def _tell(self, hand: _Hand, fire: Fire, trouble: str) -> None:
        """One line for each trouble of a fire, however often it is tried."""
        if trouble not in hand.told:
            hand.told.add(trouble)
            log.warning("schedule %r: its job for %s %s", hand.name, _shown(fire), trouble)


def _shown(fire: Fire) -> str:
    return fire.planned.isoformat(timespec="seconds")
