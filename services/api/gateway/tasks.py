"""Tasks as the gateway knows them: what was delivered, and what a worker holds."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from shared.broker.messages import Message
from shared.domain.errors import InvalidValue
from shared.domain.placement import Needs, needs_of


class Key(NamedTuple):
    """One attempt of one task: what every report is about."""

    job: UUID
    task: int
    attempt: int


class MalformedTask(ValueError):
    """A message of a queue is not a released task: written by another version, or not by Daybook."""


class Task:
    """A released task. Times are microseconds since the epoch, spans seconds.

    `ack` is where its delivery is answered, empty for one that came through no queue, and `release` the
    position of its release in the journal, then 0; `needs` is None unless the task is placed; `deadline` is
    when a result comes too late, `metadata` what the client said of the job; `in_group` tells that it is one
    of several at the same time; `ports` are the ways that its state takes from here.
    """

    __slots__ = (
        "ack",
        "deadline",
        "deliveries",
        "dispatch_by",
        "in_group",
        "input",
        "key",
        "metadata",
        "needs",
        "ports",
        "release",
        "run_timeout",
        "skill",
        "trace",
        "urgency",
    )

    def __init__(
        self, job: UUID, released: Mapping[str, Any], ack: str = "", deliveries: int = 1, release: int = 0
    ) -> None:
        """`released` has the members of a TaskReleased. Raises InvalidValue, KeyError, TypeError."""
        self.key = Key(job, released["task"], released.get("attempt", 1))
        self.skill: str = released["skill"]
        placement = released.get("placement")
        self.needs: Needs | None = None if placement is None else needs_of(placement)
        self.input: Any = released.get("input")
        self.urgency: int = released.get("urgency", 500)
        self.dispatch_by: int | None = released.get("dispatch_by")
        self.run_timeout: float | None = released.get("run_timeout")
        ends = [end for end in (released.get("result_by"), released.get("deadline")) if end is not None]
        self.deadline: int | None = min(ends, default=None)
        self.metadata: dict[str, Any] = released.get("metadata") or {}
        self.trace: str | None = released.get("trace")
        self.in_group: bool = released.get("parent", 0) != 0
        self.ports: dict[str, str] | None = released.get("transitions")
        self.ack, self.deliveries, self.release = ack, deliveries, release

    @classmethod
    def delivered(cls, message: Message) -> "Task":
        """Read a message of a queue. Raises MalformedTask."""
        try:
            commit = orjson.loads(message.data)
            topic, released = commit["events"][-1][:2]
            if topic != "TaskReleased":
                raise MalformedTask(f"{message.subject} ends with {topic}, not with TaskReleased")
            delivery = message.delivery
            return cls(UUID(commit["id"]), released, message.reply, delivery.delivered, delivery.sequence)
        except (orjson.JSONDecodeError, InvalidValue, KeyError, IndexError, TypeError) as error:
            raise MalformedTask(f"{message.subject} cannot be read: {error!r}") from error

    @property
    def params(self) -> dict[str, Any]:
        """What its worker gets: always an object; what is none stands under "input"."""
        if isinstance(self.input, dict):
            return self.input
        return {} if self.input is None else {"input": self.input}


class Run:
    """A task in the hands of a worker. The `_at` times and `until` are monotonic seconds.

    `ack` is empty, and `release` 0, when there is no delivery or none that is known: the task was handed out
    before this process began. `handed` is when the worker got it, `heard` its last sign of it, `renewed` when
    its lease was last granted, `until` its end.
    """

    __slots__ = (
        "ack",
        "asking",
        "cancelled",
        "contended_at",
        "contender",
        "deadline",
        "handed",
        "heard",
        "in_group",
        "key",
        "ports",
        "progress",
        "release",
        "renew_at",
        "renewed",
        "reporting",
        "skill",
        "until",
        "worker",
        "wpi_at",
    )

    def __init__(self, key: Key, worker: str, skill: str, now: float, lease: float) -> None:
        self.key, self.worker, self.skill = key, worker, skill
        self.ack, self.release = "", 0
        self.contender: Task | None = None
        """Another release of the task, delivered at `contended_at` while the worker has it."""
        self.contended_at = 0.0
        self.handed = self.heard = self.renewed = self.wpi_at = now
        self.until, self.renew_at = now + lease, now + lease / 2
        self.deadline = 0.0
        """Until when a worker that never shows itself keeps the task."""
        self.cancelled = False
        self.asking = False
        self.reporting = 0
        self.progress: tuple[float, str | None] | None = None
        self.in_group = False
        self.ports: dict[str, str] | None = None


class Handed(NamedTuple):
    """A task that is given to a worker now; it holds the lease for `lease_seconds`."""

    task: Task
    lease_seconds: float
