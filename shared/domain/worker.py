"""The worker aggregate: who is there, what they can do, and how they went."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final, Literal, Self
from uuid import UUID, uuid5

from eventsourcing.domain import Aggregate, AggregateEvent

from shared.domain.errors import IllegalTransition, InvalidValue
from shared.domain.recurring import Named, Recurring

WORKER_NAMESPACE: Final = UUID("5d9c1a3e-6e0f-5b0a-9c63-6f8f5b7a2d11")

WorkerStatus = Literal["unknown", "online", "draining", "left", "lost"]


def worker_id(name: str) -> UUID:
    """The id of the worker that calls itself `name`."""
    return uuid5(WORKER_NAMESPACE, name)


@dataclass(frozen=True)
class WorkerRegistered(Recurring):
    """A worker came, or came back. `instance` tells its processes apart."""

    TOPIC: ClassVar[str] = "WorkerRegistered"

    name: str
    skills: list[str]
    concurrency: int = 1
    labels: dict[str, str] | None = None
    instance: str = ""

    def apply(self, aggregate: "Worker") -> None:
        aggregate.take(self.name, self.skills, self.concurrency, self.labels, self.instance)
        aggregate.status = "online"


@dataclass(frozen=True)
class WorkerChanged(Aggregate.Event):
    """The same process can do something else now."""

    TOPIC: ClassVar[str] = "WorkerChanged"

    skills: list[str]
    concurrency: int = 1
    labels: dict[str, str] | None = None

    def apply(self, aggregate: "Worker") -> None:
        aggregate.take(aggregate.name, self.skills, self.concurrency, self.labels, aggregate.instance)


@dataclass(frozen=True)
class WorkerDraining(Aggregate.Event):
    """The worker takes no new tasks."""

    TOPIC: ClassVar[str] = "WorkerDraining"

    def apply(self, aggregate: "Worker") -> None:
        aggregate.status = "draining"


@dataclass(frozen=True)
class WorkerLeft(Aggregate.Event):
    """The worker said good-bye."""

    TOPIC: ClassVar[str] = "WorkerLeft"

    def apply(self, aggregate: "Worker") -> None:
        aggregate.status = "left"


@dataclass(frozen=True)
class WorkerLost(Aggregate.Event):
    """The worker fell silent."""

    TOPIC: ClassVar[str] = "WorkerLost"

    def apply(self, aggregate: "Worker") -> None:
        aggregate.status = "lost"


class Worker(Named):
    """One worker by its name, through all its processes."""

    TOPIC: ClassVar[str] = "Worker"
    Event = Aggregate.Event
    Created = WorkerRegistered  # type: ignore[assignment]  # it has fields of its own
    Changed = WorkerChanged
    Draining = WorkerDraining
    Left = WorkerLeft
    Lost = WorkerLost

    def begin(self) -> None:
        self.status: WorkerStatus = "unknown"
        self.take("", [], 1, None, "")

    def take(
        self, name: str, skills: list[str], concurrency: int, labels: dict[str, str] | None, instance: str
    ) -> None:
        """What an event says of the worker."""
        self.name, self.skills, self.concurrency = name, skills, concurrency
        self.labels, self.instance = labels or {}, instance

    @classmethod
    def named(cls, name: str, now: datetime) -> Self:
        """A worker that nobody has seen yet."""
        if not name or len(name) > 200:
            raise InvalidValue("a worker's name has 1 to 200 characters")
        worker = cls.blank(worker_id(name), now)
        worker.name = name
        return worker

    @property
    def is_here(self) -> bool:
        return self.status in ("online", "draining")

    def register(
        self,
        *,
        now: datetime,
        skills: Sequence[str],
        concurrency: int = 1,
        labels: Mapping[str, str] | None = None,
        instance: str = "",
    ) -> None:
        """The worker said hello. The same hello again is no event. Raises InvalidValue."""
        if not skills or not all(skills):
            raise InvalidValue(f"worker {self.name!r} needs at least one skill, each with a name")
        if concurrency < 1:
            raise InvalidValue(f"worker {self.name!r}: concurrency must be at least 1")
        known = dict(labels or {})
        if not self.is_here or self.instance != instance:
            self.trigger_event(
                WorkerRegistered,
                timestamp=now,
                originator_topic=self.TOPIC,
                name=self.name,
                skills=list(skills),
                concurrency=concurrency,
                labels=known or None,
                instance=instance,
            )
        elif (self.skills, self.concurrency, self.labels) != (list(skills), concurrency, known):
            self.trigger_event(
                WorkerChanged,
                timestamp=now,
                skills=list(skills),
                concurrency=concurrency,
                labels=known or None,
            )

    def drain(self, *, now: datetime) -> None:
        """It takes no new tasks. Raises IllegalTransition when it is not here."""
        if not self.is_here:
            raise IllegalTransition("drain", self.status)
        if self.status != "draining":
            self.trigger_event(WorkerDraining, timestamp=now)

    def leave(self, *, now: datetime) -> None:
        """It said good-bye; one that is gone already is no event."""
        if self.is_here:
            self.trigger_event(WorkerLeft, timestamp=now)

    def lose(self, *, now: datetime) -> None:
        """It fell silent; one that is gone already is no event."""
        if self.is_here:
            self.trigger_event(WorkerLost, timestamp=now)


EVENTS: Final[tuple[type[AggregateEvent], ...]] = (
    WorkerRegistered,
    WorkerChanged,
    WorkerDraining,
    WorkerLeft,
    WorkerLost,
)
