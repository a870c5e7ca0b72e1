"""Who holds an attempt: what happens to claims and leases."""

from dataclasses import dataclass

from shared.domain.job.events import JobEvent
from shared.domain.job.state import JobState
from shared.domain.values import to_us


@dataclass(frozen=True)
class TaskClaimed(JobEvent):
    """A worker holds the attempt until `until`; `started_at` is given when it runs already, `ahead` when it
    is not sure that the worker gets it.
    """

    task: int
    attempt: int
    worker: str
    until: int
    started_at: int | None = None
    ahead: bool = False

    def apply(self, aggregate: JobState) -> None:
        task = aggregate.live_tasks[self.task]
        task.worker, task.until, task.ahead = self.worker, self.until, self.ahead
        if self.started_at is None:
            task.started_at, task.status = to_us(self.timestamp), "claimed"
        else:
            task.started_at, task.status = self.started_at, "running"


@dataclass(frozen=True)
class LeaseRenewed(JobEvent):
    """The worker is at it, and holds the attempt longer."""

    task: int
    attempt: int
    worker: str
    until: int

    def apply(self, aggregate: JobState) -> None:
        task = aggregate.live_tasks[self.task]
        task.until, task.ahead = self.until, False
        task.status = "running"


@dataclass(frozen=True)
class TaskReturned(JobEvent):
    """The worker that held the attempt did not begin it; anybody may take it, up to `dispatch_by`.

    `lapsed`: nobody said so, but the lease of a claim made ahead ended; that is believed once. `offered`: it
    is offered again in the same decision, as is what lapsed, and its delivery is not needed any more.
    """

    task: int
    attempt: int
    worker: str
    dispatch_by: int | None = None
    lapsed: bool = False
    offered: bool = False

    def apply(self, aggregate: JobState) -> None:
        task = aggregate.live_tasks[self.task]
        task.status = "released"
        task.worker = task.until = task.started_at = task.message = None
        task.progress, task.ahead, task.lapsed = 0.0, False, task.lapsed or self.lapsed


EVENTS: tuple[type[JobEvent], ...] = (TaskClaimed, LeaseRenewed, TaskReturned)
