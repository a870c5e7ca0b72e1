"""How each event of a job changes its summary: one small function a topic, found by a dict."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from shared.application.summary import JobSummary

Fold = Callable[["JobSummary", Mapping[str, Any], int], None]

# A wake-up is the broker's to deliver; the sweep comes behind it, for the one that was lost.
WAKE_GRACE_US: Final = 5_000_000


class OpenTask(msgspec.Struct, omit_defaults=True, gc=False):
    """A task that has not ended. `phase` is held, released, claimed, running or retrying."""

    task: int
    attempt: int
    node: str
    skill: str
    phase: str
    urgency: int = 500
    limits: list[Any] | None = None
    run_timeout: float | None = None
    worker: str | None = None
    placed: bool = False


def _accepted(job: "JobSummary", data: Mapping[str, Any], at: int) -> None:
    get = data.get
    job.tenant = get("tenant", "")
    job.owner = get("owner", "")
    job.workflow = get("workflow")
    job.version = get("version")
    job.definition = get("definition", "")
    job.skill = get("skill")
    job.alias = get("alias")
    job.origin = get("origin", "native")
    job.trigger = get("trigger", "api")
    job.urgency = get("urgency", 500)
    job.tags = get("tags") or {}
    job.input = get("input")
    job.parent = get("parent")
    job.retry_of = get("retry_of")
    job.webhook_url = get("webhook_url")
    job.metadata = get("metadata") or {}
    job.deadline = deadline = get("deadline")
    if deadline is not None:
        job.dues["deadline"] = deadline
    job.created_at = at
    job.first_sequence = job.sequence


def _task_queued(job: "JobSummary", data: Mapping[str, Any], at: int) -> None:
    _open_task(job, data, at, "held")


def _task_released(job: "JobSummary", data: Mapping[str, Any], at: int) -> None:
    job.attempts += 1
    _open_task(job, data, at, "released")


def _open_task(job: "JobSummary", data: Mapping[str, Any], at: int, phase: str) -> None:
    get = data.get
    number = data["task"]
    attempt = get("attempt", 1)
    if attempt > 1 and number not in job.tasks:
        _count_retry(job)  # at once: a retry without a wait is not scheduled
    job.tasks[number] = OpenTask(
        number,
        attempt,
        get("node", "task"),
        data["skill"],
        phase,
        get("urgency", 500),
        get("limits") or None,
        get("run_timeout"),
        placed=bool(get("placement")),
    )
    if job.dues:
        _drop_dues(job, number)
    dispatch_by = get("dispatch_by")
    if dispatch_by is not None:
        job.dues[f"waiting-{number}"] = dispatch_by
    result_by = get("result_by")
    if result_by is not None:
        job.dues[f"result-{number}"] = result_by
    if job.queued_at is None:
        job.queued_at = at
    job.status = _status(job)


def _task_claimed(job: "JobSummary", data: Mapping[str, Any], at: int) -> None:
    number = data["task"]
    task = job.tasks.get(number)
    if task is not None:
        started_at = data.get("started_at")
        task.phase = "claimed" if started_at is None else "running"
        task.worker = data["worker"]
        job.dues.pop(f"waiting-{number}", None)
        job.dues[f"lease-{number}"] = data["until"]
        if task.run_timeout is not None:
            begun = at if started_at is None else started_at
            job.dues[f"run-{number}"] = begun + round(task.run_timeout * 1_000_000)
    _worked(job, data, at)
    job.status = _status(job)


def _lease_renewed(job: "JobSummary", data: Mapping[str, Any], at: int) -> None:
    number = data["task"]
    task = job.tasks.get(number)
    if task is not None:
        task.phase = "running"
        job.dues[f"lease-{number}"] = data["until"]
        job.status = _status(job)


def _task_returned(job: "JobSummary", data: Mapping[str, Any], at: int) -> None:
    number = data["task"]
    task = job.tasks.get(number)
    if task is not None:
        task.phase, task.worker = "released", None
        for name in ("lease", "run"):
            job.dues.pop(f"{name}-{number}", None)
        dispatch_by = data.get("dispatch_by")
        if dispatch_by is not None:
            job.dues[f"waiting-{number}"] = dispatch_by
    job.worker = job.progress = job.progress_message = None
    job.status = _status(job)


def _task_progressed(job: "JobSummary", data: Mapping[str, Any], at: int) -> None:
    number = data["task"]
    task = job.tasks.get(number)
    if task is not None:
        task.phase = "running"
        job.dues.pop(f"waiting-{number}", None)
    job.worker = data.get("worker", job.worker)
    job.progress = data.get("progress", 0.0)
    job.progress_message = data.get("message")
    if job.started_at is None:
        job.started_at = at
    job.status = _status(job)


def _task_succeeded(job: "JobSummary", data: Mapping[str, Any], at: int) -> None:
    _close_task(job, data["task"])
    _worked(job, data, at)
    job.error = None
    job.status = _status(job)


def _task_failed(job: "JobSummary", data: Mapping[str, Any], at: int) -> None:
    job.failed_task = _close_task(job, data["task"])
    _worked(job, data, at)
    job.error = data.get("error")
    job.status = _status(job)


def _task_timed_out(job: "JobSummary", data: Mapping[str, Any], at: int) -> None:
    job.failed_task = _close_task(job, data["task"])
    job.error = data.get("error")
    job.status = _status(job)


def _retry_scheduled(job: "JobSummary", data: Mapping[str, Any], at: int) -> None:
    number = data["task"]
    task = job.failed_task
    if task is None or task.task != number:
        task = OpenTask(number, 0, "", "", "retrying")
    task.attempt = data["attempt"]
    task.phase = "retrying"
    task.worker = None
    job.tasks[number] = task
    job.failed_task = None
    _count_retry(job)
    job.dues[f"retry-{number}"] = data["not_before"] + WAKE_GRACE_US
    job.status = _status(job)


def _task_cancelled(job: "JobSummary", data: Mapping[str, Any], at: int) -> None:
    _close_task(job, data["task"])
    job.status = _status(job)


def _close_task(job: "JobSummary", number: int) -> OpenTask | None:
    if job.dues:
        _drop_dues(job, number)
    return job.tasks.pop(number, None)


def _drop_dues(job: "JobSummary", number: int) -> None:
    for name in ("waiting", "result", "run", "lease", "retry"):
        job.dues.pop(f"{name}-{number}", None)


def _count_retry(job: "JobSummary") -> None:
    job.retries += 1
    job.progress = job.progress_message = None


def _worked(job: "JobSummary", data: Mapping[str, Any], at: int) -> None:
    """A result says who worked and, because a fresh task starts unannounced, since when."""
    job.worker = data.get("worker", job.worker)
    if job.started_at is None:
        started = data.get("started_at")
        job.started_at = at if started is None else started


def _signal_awaited(job: "JobSummary", data: Mapping[str, Any], at: int) -> None:
    activation = data["activation"]
    job.waits[activation] = data.get("node", "")
    until = data.get("until")
    if until is not None:
        timer = data.get("kind") == "timer"
        job.dues[f"wait-{activation}"] = until + WAKE_GRACE_US if timer else until
    job.status = _status(job)


def _wait_ended(job: "JobSummary", data: Mapping[str, Any], at: int) -> None:
    activation = data.get("activation")
    if activation is not None:  # a signal may come before anything waits for it
        job.waits.pop(activation, None)
        job.dues.pop(f"wait-{activation}", None)
        job.status = _status(job)


def _node_cancelled(job: "JobSummary", data: Mapping[str, Any], at: int) -> None:
    activation = data["activation"]
    for live in (job.waits, job.running_children, job.handlers):
        live.pop(activation, None)
    job.dues.pop(f"wait-{activation}", None)
    job.status = _status(job)


def _child_started(job: "JobSummary", data: Mapping[str, Any], at: int) -> None:
    job.running_children[data["activation"]] = data.get("node", "")
    job.children += 1
    job.status = _status(job)


def _child_ended(job: "JobSummary", data: Mapping[str, Any], at: int) -> None:
    job.running_children.pop(data["activation"], None)
    job.status = _status(job)


def _handler_awaited(job: "JobSummary", data: Mapping[str, Any], at: int) -> None:
    job.handlers[data["activation"]] = data.get("node", "")
    job.status = _status(job)


def _handler_ended(job: "JobSummary", data: Mapping[str, Any], at: int) -> None:
    if not data.get("retried"):
        job.handlers.pop(data["activation"], None)
    job.status = _status(job)


def _paused(job: "JobSummary", data: Mapping[str, Any], at: int) -> None:
    job.paused = True
    job.status = _status(job)


def _resumed(job: "JobSummary", data: Mapping[str, Any], at: int) -> None:
    job.paused = False
    job.status = _status(job)


def _status(job: "JobSummary") -> str:
    """What an open job waits for; the most active of its parts wins."""
    if job.paused:
        return "paused"
    best = "pending"
    if job.tasks:
        rank = -1
        for task in job.tasks.values():
            if (own := _PHASES[task.phase]) > rank:
                rank = own
        if rank > 0:
            return _STATUS_OF_RANK[rank]
        best = "retry_scheduled"
    if job.running_children:
        return "waiting_children"
    if job.waits:
        return "waiting_signal"
    return best


_PHASES = {"retrying": 0, "held": 1, "released": 1, "claimed": 2, "running": 3}
_STATUS_OF_RANK = ("retry_scheduled", "queued", "assigned", "running")


def _succeeded(job: "JobSummary", data: Mapping[str, Any], at: int) -> None:
    job.output = data.get("output")
    job.error = None
    job.progress = 1.0
    _ended(job, "succeeded", at)


def _cancelled(job: "JobSummary", data: Mapping[str, Any], at: int) -> None:
    job.error = {"kind": "cancelled", "message": data.get("reason") or "cancelled", "by": data.get("by")}
    _ended(job, "cancelled", at)


def _unsuccessful(status: str) -> Fold:
    def fold(job: "JobSummary", data: Mapping[str, Any], at: int) -> None:
        job.error = data.get("error")
        _ended(job, status, at)

    return fold


def _ended(job: "JobSummary", status: str, at: int) -> None:
    job.status = status
    job.ended_at = at
    job.paused = False
    job.failed_task = None
    for open_parts in (job.dues, job.tasks, job.waits, job.running_children, job.handlers):
        open_parts.clear()


def _unseen(job: "JobSummary", data: Mapping[str, Any], at: int) -> None:
    """Part of the history that no row shows."""


FOLDS: Final[dict[str, Fold]] = {
    "JobAccepted": _accepted,
    "TaskQueued": _task_queued,
    "TaskReleased": _task_released,
    "TaskClaimed": _task_claimed,
    "LeaseRenewed": _lease_renewed,
    "TaskReturned": _task_returned,
    "TaskProgressed": _task_progressed,
    "TaskSucceeded": _task_succeeded,
    "TaskFailed": _task_failed,
    "TaskTimedOut": _task_timed_out,
    "TaskRetryScheduled": _retry_scheduled,
    "TaskCancelled": _task_cancelled,
    "SignalAwaited": _signal_awaited,
    "SignalReceived": _wait_ended,
    "ApprovalReceived": _wait_ended,
    "WaitEnded": _wait_ended,
    "NodeCancelled": _node_cancelled,
    "ChildStarted": _child_started,
    "ChildEnded": _child_ended,
    "HandlerAwaited": _handler_awaited,
    "HandlerDecided": _handler_ended,
    "HandlerFailed": _handler_ended,
    "JobPaused": _paused,
    "JobResumed": _resumed,
    "JobSucceeded": _succeeded,
    "JobFailed": _unsuccessful("failed"),
    "JobTimedOut": _unsuccessful("timed_out"),
    "JobQuarantined": _unsuccessful("quarantined"),
    "JobCancelled": _cancelled,
} | dict.fromkeys(
    (
        "EventEmitted",
        "ReportIgnored",
        "NodePassed",
        "ContextUpdated",
        "BranchesForked",
        "BranchArrived",
        "BranchEnded",
        "JoinPassed",
        "LoopStarted",
        "IterationStarted",
        "IterationEnded",
        "LoopEnded",
        "ScopeEntered",
        "ErrorCaught",
        "FinallyEntered",
        "ScopeLeft",
    ),
    _unseen,
)
