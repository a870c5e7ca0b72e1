"""One schedule: which of its planned times is to be made a job now, and which job that is."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal
from uuid import UUID, uuid5

from shared.domain.schedule.recurrence import Recurrence, newest

SCHEDULE_NAMESPACE: Final = UUID("3e0d6a9a-54f0-5a0c-8a53-1f2c0f6f7d90")

CatchUp = Literal["once", "skip"]
"""What becomes of planned times that nobody was there for: the last of them is made up for, or none."""

CATCH_UPS: Final[tuple[CatchUp, ...]] = ("once", "skip")

GRACE: Final = timedelta(seconds=60)
"""How late a fire may be and still count as in time, for a schedule that makes up for nothing."""


def schedule_id(tenant: str, source: str, name: str) -> UUID:
    """The id of the schedule that `source` (a file, an API) calls `name`."""
    return uuid5(SCHEDULE_NAMESPACE, f"{tenant}/{source}/{name}")


@dataclass(frozen=True, slots=True)
class Fire:
    """One planned time of one schedule. `planned` is in UTC."""

    schedule: UUID
    planned: datetime

    @property
    def job(self) -> UUID:
        """The id of the job that this fire makes: the same for every scheduler, every time."""
        return uuid5(self.schedule, self.planned.astimezone(UTC).isoformat(timespec="microseconds"))


@dataclass(frozen=True, slots=True)
class Schedule:
    """A recurrence that counts from `since` on: what was planned before is nobody's business."""

    id: UUID
    recurrence: Recurrence
    since: datetime
    catch_up: CatchUp = "once"

    def due(self, now: datetime, handled: datetime | None = None) -> Fire | None:
        """The fire that is to be looked at now, None when there is none behind `handled`.

        Of several that have come it is the newest: those before it are not made up for, whatever the policy.
        """
        planned = newest(self.recurrence, handled or self.since - _TICK, now)
        return None if planned is None else Fire(self.id, planned)

    def is_missed(self, fire: Fire, now: datetime) -> bool:
        """Whether it is too late for this fire by the schedule's policy."""
        return self.catch_up == "skip" and now - fire.planned > GRACE

    def next_after(self, moment: datetime) -> datetime:
        """The next planned time behind `moment`."""
        return self.recurrence.after(max(moment, self.since - _TICK))


_TICK: Final = timedelta(microseconds=1)
