"""What time does to a job: its deadline, time-outs, lost leases, and wake-ups that nobody made."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from shared.domain.job import offers, waits
from shared.domain.job.claim_events import TaskReturned
from shared.domain.job.events import TaskTimedOut
from shared.domain.job.spec import Facts
from shared.domain.job.state import JobState, Task, Waiting
from shared.domain.job.walk import Walk
from shared.domain.values import TaskError, seconds_us

if TYPE_CHECKING:
    from shared.domain.job.job import Job


def next_due(job: JobState) -> int | None:
    """When the first thing is due; None when nothing ever is."""
    if job.ended is not None:
        return None
    due = [] if job.spec.deadline is None else [job.spec.deadline]
    for task in job.live_tasks.values():
        due.extend(at for at, _ in _limits(task))
    due.extend(w.until for w in job.activations.values() if isinstance(w, Waiting) and w.until is not None)
    return min(due, default=None)


def expire(job: "Job", facts: Facts) -> None:
    """Does everything that is due at `facts.now`."""
    now = facts.now_us
    if job.spec.deadline is not None and job.spec.deadline <= now:
        Walk(job, facts).end(TaskError("timeout", "the job's deadline passed", "deadline"))
        return
    for task in list(job.live_tasks.values()):
        if job.ended is not None or job.live_tasks.get(task.id) is not task:
            continue  # given up by what came before
        over = min((limit for limit in _limits(task) if limit[0] <= now), default=None)
        if over is not None:
            _time_out(job, task, over[1], facts)
    for waiting in list(job.activations.values()):
        if not isinstance(waiting, Waiting) or waiting.id not in job.activations:
            continue
        if waiting.until is not None and waiting.until <= now:
            waits.time_came(job, waiting, facts)


def _limits(task: Task) -> Iterator[tuple[int, str]]:
    """(when, what) for every limit that the task is under now."""
    if task.not_before is not None:
        yield task.not_before, "retry"
    elif task.status in ("queued", "released") and task.dispatch_by is not None:
        yield task.dispatch_by, "waiting"
    if task.result_by is not None and task.status != "retry_scheduled":
        yield task.result_by, "result"
    if task.until is not None:
        yield task.until, "lease"
    if task.run_timeout is not None and task.started_at is not None:
        yield task.started_at + seconds_us(task.run_timeout), "executing"


def _time_out(job: "Job", task: Task, what: str, facts: Facts) -> None:
    walk = Walk(job, facts)
    if what == "retry":
        offers.offer_again(walk, task, task.attempt)
        return
    if what == "lease" and task.ahead and not task.lapsed and task.worker is not None:
        # Whoever claimed it ahead is gone, and so nobody began it, or its worker died at once: that
        # is told apart by trying it once more.
        walk.emit(TaskReturned, task=task.id, attempt=task.attempt, worker=task.worker, lapsed=True)
        offers.offer_again(walk, task, task.attempt)
        return
    error = TaskError("timeout", _MESSAGES[what], f"{what}_timeout")
    walk.emit(TaskTimedOut, task=task.id, attempt=task.attempt, what=what, error=error.to_json())
    if what in ("waiting", "result"):
        # Nobody took it, or time is up for all attempts: another one would not help.
        walk.fail(task.node, task.parent, task.branch, error, task.transitions)
    else:
        offers.attempt_failed(walk, task, error)
    walk.run()


_MESSAGES = {
    "waiting": "no worker took the task in time",
    "lease": "the worker did not renew its lease",
    "executing": "the task ran too long",
    "result": "there was no result in time",
}
