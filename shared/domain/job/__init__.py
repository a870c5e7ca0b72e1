"""The job: an aggregate whose events are the only truth about it."""

from shared.domain.job.actions import (
    Action,
    AwaitApproval,
    Dispatch,
    Emission,
    GoTo,
    Parallel,
    RunWorkflow,
    TaskSpec,
)
from shared.domain.job.effects import CancelChild, Effect, HeldTask, RunHandler, StartChild, StartTimer
from shared.domain.job.job import Job
from shared.domain.job.spec import Facts, JobSpec
from shared.domain.values import Status, TaskError, Verdict

__all__ = [
    "Action",
    "AwaitApproval",
    "CancelChild",
    "Dispatch",
    "Effect",
    "Emission",
    "Facts",
    "GoTo",
    "HeldTask",
    "Job",
    "JobSpec",
    "Parallel",
    "RunHandler",
    "RunWorkflow",
    "StartChild",
    "StartTimer",
    "Status",
    "TaskError",
    "TaskSpec",
    "Verdict",
]
