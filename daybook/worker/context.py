"""What a skill may know and do about the task it runs."""

import logging
import threading
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

Progress = Callable[[float, str | None], None]


class TaskLog(logging.LoggerAdapter[logging.Logger]):
    """A logger that puts the task's ids in front of each line and into its `extra`."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        extra = self.extra or {}
        kwargs["extra"] = {**extra, **(kwargs.get("extra") or {})}
        return f"[job {extra.get('job_id')} task {extra.get('task')}.{extra.get('attempt')}] {msg}", kwargs


@dataclass(frozen=True, slots=True)
class TaskContext:
    """The second argument of a skill that asks for one.

    `cancelled` is set when the task must stop: the job was cancelled, the time limit passed, or the worker
    is shutting down. A skill in a thread should look at it now and then; a coroutine is cancelled by
    asyncio, and a process is killed. `traceparent` is the W3C trace context of the release: of its span in
    the job's trace. `metadata` is what the client gave the job; `release` holds what else is known of the
    task (`workflow`, `node`, `tenant`, `urgency`, `deadline`, …; the fields of TaskReleased in docs/wire.md).
    """

    job_id: UUID
    task: int
    attempt: int
    skill: str
    worker: str
    traceparent: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    release: Mapping[str, Any] = field(default_factory=dict)
    cancelled: threading.Event = field(default_factory=threading.Event)
    report_progress: Progress = field(default=lambda fraction, message: None, repr=False)

    def progress(self, fraction: float, message: str | None = None) -> None:
        """Tell how far the task is (0 to 1). Cheap, never blocks, may be called from any thread.

        Only the newest value is sent, a few times a second, and from the first second of the task on.
        """
        self.report_progress(min(max(float(fraction), 0.0), 1.0), message)

    @property
    def log(self) -> TaskLog:
        """A logger named `daybook.skill.<skill>` whose lines carry the job and the task."""
        extra = {"job_id": str(self.job_id), "task": self.task, "attempt": self.attempt, "skill": self.skill}
        return TaskLog(logging.getLogger(f"daybook.skill.{self.skill}"), extra)


@dataclass(frozen=True, slots=True)
class Result:
    """What a skill returns to leave its node by a port of its own: `Result(output, port="rejected")`."""

    output: Any
    port: str = "success"
