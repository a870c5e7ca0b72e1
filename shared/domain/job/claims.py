"""Who holds an attempt: claimed, held longer, given back."""

from datetime import timedelta
from typing import TYPE_CHECKING

from shared.domain.job import offers
from shared.domain.job.claim_events import LeaseRenewed, TaskClaimed, TaskReturned
from shared.domain.job.deadlines import expire
from shared.domain.job.spec import Facts
from shared.domain.job.state import Task
from shared.domain.job.walk import Walk
from shared.domain.values import ACCEPTED, Verdict, span_us

if TYPE_CHECKING:
    from shared.domain.job.job import Job


def claim(
    job: "Job",
    task: Task,
    worker: str,
    lease: timedelta,
    facts: Facts,
    started_at: int | None,
    *,
    ahead: bool = False,
) -> None:
    """The worker holds the attempt for `lease`; `started_at` tells that it runs already."""
    if task.worker is not None:
        renew(job, task, lease, facts)
        return
    if started_at is None and task.status == "running":
        started_at = facts.now_us  # it told of progress before
    job.trigger_event(
        TaskClaimed,
        timestamp=facts.now,
        task=task.id,
        attempt=task.attempt,
        worker=worker,
        until=facts.now_us + span_us(lease),
        started_at=started_at,
        ahead=ahead,
    )


def take(job: "Job", number: int, worker: str, lease: timedelta, facts: Facts, *, ahead: bool) -> Verdict:
    """A held task goes to the worker, past the queue of its skill."""
    task = job.tasks.get(number)
    if task is not None and task.status == "claimed" and task.taken and task.worker == worker:
        return ACCEPTED  # said again
    if task is None or task.status != "queued" or job.paused:
        return Verdict(accepted=False, reason="stale")
    offers.release(Walk(job, facts), task, taken=True)
    claim(job, task, worker, lease, facts, None, ahead=ahead)
    return ACCEPTED


def is_held(job: "Job", number: int, attempt: int) -> bool:
    """Whether the attempt waits to be released."""
    task = job.live_tasks.get(number)
    return task is not None and task.status == "queued" and task.attempt == attempt


def renew(job: "Job", task: Task, lease: timedelta, facts: Facts) -> None:
    """Its holder holds it longer; never shorter."""
    until = facts.now_us + span_us(lease)
    if task.until is not None and task.until < until:
        job.trigger_event(
            LeaseRenewed,
            timestamp=facts.now,
            task=task.id,
            attempt=task.attempt,
            worker=task.worker,
            until=until,
        )


def give_back(job: "Job", task: Task, facts: Facts) -> None:
    """Its holder did not begin it: the same attempt is offered anew, as long as it may still begin.

    By a release of its own, so that nothing hangs on a delivery of the release before: while the attempt was
    held, whoever else got it may have acked it.
    """
    if task.worker is None:
        return
    job.trigger_event(
        TaskReturned,
        timestamp=facts.now,
        task=task.id,
        attempt=task.attempt,
        worker=task.worker,
        dispatch_by=task.dispatch_by,
        offered=True,
    )
    if task.dispatch_by is not None and task.dispatch_by <= facts.now_us:
        expire(job, facts)
    else:
        offers.offer_still(Walk(job, facts), task)
