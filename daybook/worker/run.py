"""One task in this worker, from its delivery to its ack."""

import asyncio
import threading
from typing import Literal

from daybook.worker.intake import Queue
from daybook.worker.link import Answer
from daybook.worker.processes import Child
from daybook.worker.skills import Skill
from daybook.worker.wire import Task

Stop = Literal["cancelled", "refused", "timeout", "drain"]
"""Why a task is stopped: the dispatcher cancelled it, it is not ours any more, its time is up, we leave."""


class Run:
    """One task from its delivery to its ack. `since` and the `_at` times are monotonic seconds."""

    __slots__ = (
        "call",
        "cancelled",
        "child",
        "claimed",
        "executing",
        "lease_seconds",
        "lingers",
        "occupies",
        "progress",
        "queue",
        "renew_at",
        "since",
        "skill",
        "started_at",
        "stop",
        "task",
        "work",
        "wpi_at",
    )

    def __init__(self, task: Task, queue: Queue, skill: Skill, now: float) -> None:
        self.task, self.queue, self.skill, self.since = task, queue, skill, now
        self.wpi_at = now + queue.ack_wait_seconds / 3
        self.started_at = 0  # microseconds since the epoch; 0 until the skill is called
        self.executing = self.claimed = False
        self.occupies = True
        self.lingers = False  # stopped, while its thread goes on
        self.lease_seconds = self.renew_at = 0.0
        self.stop: Stop | None = None
        self.work: asyncio.Task[None] | None = None
        self.call: asyncio.Future[Answer] | None = None
        self.progress: tuple[float, str | None] | None = None
        self.cancelled: threading.Event | None = None
        self.child: Child | None = None
