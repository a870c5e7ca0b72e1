"""The wire between workers and the dispatcher: what a task message says, and what a worker answers.

The words are those of docs/wire.md. Times on this wire are microseconds since the epoch, UTC.
"""

from typing import Any
from uuid import UUID

import orjson

from shared.broker.messages import Delivery, Message
from shared.telemetry.ids import traceparent_of

ACK = b"+ACK"
IN_PROGRESS = b"+WPI"
NAK = b"-NAK"
VERDICTS = frozenset({"granted", "refused", "accepted", "ignored"})


class MalformedTask(ValueError):
    """A message of a skill's queue is not a released task: written by another version, or not by Daybook."""


class Task:
    """One delivery of one released task. `job_token` is the job's id as subjects spell it."""

    __slots__ = (
        "ack_subject",
        "attempt",
        "claim",
        "deliveries",
        "input",
        "job_id",
        "job_token",
        "number",
        "released",
        "run_timeout",
        "skill",
        "stored_at",
        "submitted_under",
        "version",
    )

    def __init__(self, message: Message, delivery: Delivery) -> None:
        """Read a message of a skill's queue; raises MalformedTask."""
        subject = message.subject
        try:
            commit = orjson.loads(message.data)
            topic, released = commit["events"][-1][:2]
            if topic != "TaskReleased":
                raise MalformedTask(f"{subject} ends with {topic}, not with TaskReleased")
            self.job_id: str = commit["id"]
            self.job_token: str = subject.split(".")[2]
            self.number: int = released["task"]
            self.skill: str = released["skill"]
            self.version: int = commit["n"] + len(commit["events"]) - 1
        except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, ValueError) as error:
            if isinstance(error, MalformedTask):
                raise
            raise MalformedTask(f"{subject} cannot be read: {error!r}") from error
        self.released: dict[str, Any] = released
        self.attempt: int = released.get("attempt", 1)
        self.input: Any = released.get("input")
        self.claim: bool = released.get("claim", False)
        self.run_timeout: float | None = released.get("run_timeout")
        self.submitted_under: str | None = released.get("trace")
        self.ack_subject = message.reply
        self.deliveries, self.stored_at = delivery.delivered, delivery.stored

    @property
    def key(self) -> tuple[str, int, int]:
        """The attempt's identity: job, task, attempt."""
        return self.job_id, self.number, self.attempt

    @property
    def trace(self) -> str:
        """The traceparent of the release itself: what a skill does hangs below its span."""
        return traceparent_of(self.job_uuid, self.submitted_under, self.version)

    @property
    def job_uuid(self) -> UUID:
        return UUID(self.job_id)

    @property
    def metadata(self) -> dict[str, Any]:
        """What the client gave the job as its metadata."""
        return self.released.get("metadata") or {}

    @property
    def release(self) -> dict[str, Any]:
        """What else the release says (workflow, node, tenant, urgency, …), without the input."""
        return {name: value for name, value in self.released.items() if name not in _OWN_FIELDS}

    def must_claim(self, now_us: int, fresh_us: int) -> bool:
        """Whether it may be started only after a granted claim.

        A clock that differs from the broker's by more than `fresh_us` makes every task look old, which is
        slower and safe; so a task "from the future" counts as old too.
        """
        return self.claim or self.deliveries > 1 or abs(now_us - self.stored_at) > fresh_us


def decides(answer: dict[str, Any]) -> bool:
    """Whether the answer to a report is a verdict on the task.

    An error is none. Nor is `unknown_job`: the task was delivered from the journal, so the job is there, and
    who answers does not know it yet.
    """
    return answer.get("verdict") in VERDICTS and answer.get("reason") != "unknown_job"


def nak(delay_seconds: float = 0.0) -> bytes:
    """Give the message back, to be delivered again after the delay."""
    if delay_seconds <= 0:
        return NAK
    return b'-NAK {"delay": %d}' % int(delay_seconds * 1e9)


def next_request(batch: int, expires_seconds: float, heartbeat_seconds: float) -> bytes:
    """The body of a pull request."""
    return b'{"batch":%d,"expires":%d,"idle_heartbeat":%d}' % (
        batch,
        int(expires_seconds * 1e9),
        int(heartbeat_seconds * 1e9),
    )


def claim(task: Task, worker: str) -> bytes:
    return _report(task, worker, "claim")


def renew(task: Task, worker: str) -> bytes:
    return _report(task, worker, "renew")


def progress(task: Task, worker: str, fraction: float, message: str | None) -> bytes:
    return _report(task, worker, "progress", progress=fraction, message=message)


def succeeded(task: Task, worker: str, output: Any, port: str, started_at: int) -> bytes:
    """Raises orjson.JSONEncodeError (a TypeError) when the output is not JSON."""
    body = {
        "kind": "result",
        "task": task.number,
        "attempt": task.attempt,
        "worker": worker,
        "outcome": "succeeded",
        "output": output,
        "started_at": started_at,
    }
    if port != "success":
        body["port"] = port
    return orjson.dumps(body)


def failed(task: Task, worker: str, error: dict[str, Any], started_at: int) -> bytes:
    return _report(task, worker, "result", outcome="failed", error=error, started_at=started_at)


def _report(task: Task, worker: str, kind: str, **more: Any) -> bytes:
    return orjson.dumps(
        {"kind": kind, "task": task.number, "attempt": task.attempt, "worker": worker, **more}
    )


_OWN_FIELDS = frozenset({"task", "attempt", "skill", "input", "claim", "trace", "metadata"})
