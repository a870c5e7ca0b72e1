"""Who holds an attempt: claimed, held longer, given back."""

from datetime import timedelta
from typing import TYPE_CHECKING

from shared.domain.job.claim_events import LeaseRenewed, TaskClaimed, TaskReturned
from shared.domain.job.deadlines import expire
from shared.domain.job.spec import Facts
from shared.domain.job.state import Task
from shared.domain.values import span_us

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
    """Its holder did not begin it: the same attempt is for anybody again, as long as it may still begin."""
    if task.worker is None:
        return
    job.trigger_event(
        TaskReturned,
        timestamp=facts.now,
        task=task.id,
        attempt=task.attempt,
        worker=task.worker,
        dispatch_by=task.dispatch_by,
    )
    if task.dispatch_by is not None and task.dispatch_by <= facts.now_us:
        expire(job, facts)
