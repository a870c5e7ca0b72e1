"""What workers report of tasks (`report.<job>`), and the verdicts they get. Wire: docs/wire.md."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec

from services.dispatcher.slots import Command, Done, Missing, Outcome, Refused
from shared.domain.job import Facts, Job, TaskError, Verdict
from shared.domain.values import ErrorKind


class Failure(msgspec.Struct):
    """How a task failed; `kind` steers retries."""

    message: str
    kind: ErrorKind = "transient"
    code: str | None = None
    details: Any = None


class Claim(msgspec.Struct, tag_field="kind", tag="claim"):
    """The worker asks before it runs a task, or says that it has been running it.

    `ahead`: it is asked for a worker that did not ask for the task yet.
    """

    task: int
    attempt: int
    worker: str
    ahead: bool = False


class Renew(msgspec.Struct, tag_field="kind", tag="renew"):
    """The worker is still at it."""

    task: int
    attempt: int
    worker: str


class Return(msgspec.Struct, tag_field="kind", tag="return"):
    """The worker did not begin what it claimed, and will not."""

    task: int
    attempt: int
    worker: str


class Progress(msgspec.Struct, tag_field="kind", tag="progress"):
    """How far the work is, 0 to 1."""

    task: int
    attempt: int
    worker: str
    progress: float
    message: str | None = None


class Result(msgspec.Struct, tag_field="kind", tag="result"):
    """The attempt is over. `started_at` is in microseconds since the epoch, by the worker's clock."""

    task: int
    attempt: int
    worker: str
    outcome: str
    output: Any = None
    port: str = "success"
    error: Failure | None = None
    started_at: int | None = None


class Event(msgspec.Struct, tag_field="kind", tag="event"):
    """The worker tells of something. `id` is its own for it: told again, it is recorded once."""

    task: int
    attempt: int
    worker: str
    name: str
    payload: Any = None
    id: str = ""


Report = Claim | Renew | Return | Progress | Result | Event
decode_report = msgspec.json.Decoder(Report).decode

AHEAD_LEASE = timedelta(seconds=10)


def ahead_lease(lease: timedelta) -> timedelta:
    """A claim made ahead is short, so that what its gateway leaves behind is soon for somebody else."""
    return min(lease, AHEAD_LEASE)


ACCEPTED = b'{"verdict":"accepted"}'
UNKNOWN_JOB = b'{"verdict":"ignored","reason":"unknown_job"}'
REFUSED_UNKNOWN_JOB = b'{"verdict":"refused","reason":"unknown_job"}'


def decide(report: Report, lease: timedelta, job: Job, facts: Facts) -> Verdict:
    """What the job makes of the report."""
    if isinstance(report, Result):
        if report.outcome == "succeeded":
            return job.succeed(
                report.task,
                report.attempt,
                report.worker,
                report.output,
                facts,
                port=report.port,
                started_at=report.started_at,
            )
        failure = report.error or Failure("the worker gave no reason")
        error = TaskError(
            kind=failure.kind, message=failure.message, code=failure.code, details=failure.details
        )
        return job.fail(
            report.task, report.attempt, report.worker, error, facts, started_at=report.started_at
        )
    if isinstance(report, Progress):
        return job.progress(
            report.task, report.attempt, report.worker, report.progress, report.message, facts
        )
    if isinstance(report, Event):
        return job.emit(
            report.task, report.attempt, report.worker, report.name, report.payload, facts, report.id
        )
    if isinstance(report, Claim):
        held = _held_for(report, lease)
        return job.claim(report.task, report.attempt, report.worker, held, facts, ahead=report.ahead)
    if isinstance(report, Return):
        return job.give_back(report.task, report.attempt, report.worker, facts)
    return job.renew(report.task, report.attempt, report.worker, lease, facts)


def verdict(report: Report, lease: timedelta, outcome: Outcome) -> bytes | None:
    """The answer on the wire; None when there is none to give, so that the worker reports again."""
    claims = isinstance(report, Claim)
    if isinstance(outcome, Done):
        answer = outcome.answer
        assert isinstance(answer, Verdict)
        if answer.accepted:
            if claims:
                seconds = _held_for(report, lease).total_seconds()
                return msgspec.json.encode({"verdict": "granted", "lease_seconds": seconds})
            return ACCEPTED
        return msgspec.json.encode({"verdict": "refused" if claims else "ignored", "reason": answer.reason})
    if isinstance(outcome, Missing):
        return REFUSED_UNKNOWN_JOB if claims else UNKNOWN_JOB
    if isinstance(outcome, Refused):
        return msgspec.json.encode({"error": str(outcome.problem)})
    return None


def _held_for(claim: Report, lease: timedelta) -> timedelta:
    return ahead_lease(lease) if isinstance(claim, Claim) and claim.ahead else lease


def command(report: Report, lease: timedelta, answer: Callable[[bytes], None]) -> Command:
    """The command that decides `report` and gives the verdict to `answer`."""

    def act(job: Job, facts: Facts) -> Verdict:
        return decide(report, lease, job, facts)

    def done(outcome: Outcome) -> None:
        reply = verdict(report, lease, outcome)
        if reply is not None:
            answer(reply)

    return Command(act, done, by=f"worker:{report.worker}")
