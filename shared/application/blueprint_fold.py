"""How each event of a job changes what clients of blueprints see of it: one small function a topic."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from shared.application.blueprint_words import END, task_id

if TYPE_CHECKING:
    from shared.application.blueprint_jobs import BlueprintJob

Fold = Callable[["BlueprintJob", Mapping[str, Any], float], None]
"""Given the job, the event's fields and its time in seconds since the epoch."""


def _accepted(job: "BlueprintJob", data: Mapping[str, Any], at: float) -> None:
    job.accepted = data


def _handler_awaited(job: "BlueprintJob", data: Mapping[str, Any], at: float) -> None:
    job.node = data["node"]
    job.step += 1
    job.groups.clear()


def _handler_decided(job: "BlueprintJob", data: Mapping[str, Any], at: float) -> None:
    job.decided = True
    job.handler_failures = 0
    action = data["action"]
    patch = action.get("context")
    if isinstance(patch, dict):
        job.context.update(patch)
    ends = action.get("type") == "GoTo" and str(action.get("node")).endswith(END)
    job.returned = action.get("payload") if ends else None


def _handler_failed(job: "BlueprintJob", data: Mapping[str, Any], at: float) -> None:
    if data.get("retried"):
        job.handler_failures += 1


def _released(job: "BlueprintJob", data: Mapping[str, Any], at: float) -> None:
    job.task = job.tasks[data["task"]] = data
    if job.step == 0:
        job.node = data.get("node", "task")  # no blueprint: the node of the task is where the job is
    job.summary.worker = None
    job.marks["task_dispatched_at"] = int(at)
    job.marks.pop("task_picked_up_at", None)


def _claimed(job: "BlueprintJob", data: Mapping[str, Any], at: float) -> None:
    started = data.get("started_at")
    job.marks["task_picked_up_at"] = int(at if started is None else started / 1_000_000)


def _returned(job: "BlueprintJob", data: Mapping[str, Any], at: float) -> None:
    job.marks.pop("task_picked_up_at", None)


def _succeeded(job: "BlueprintJob", data: Mapping[str, Any], at: float) -> None:
    job.marks.setdefault("task_picked_up_at", int((data.get("started_at") or at * 1e6) / 1_000_000))
    task = job.tasks.get(data["task"])
    job.worked = True
    output = data.get("output")
    if task is not None and task.get("remember") and isinstance(output, dict):
        job.context.update(output)
    _answer(job, task, {"data": output, "worker_id": data.get("worker")})


def _progressed(job: "BlueprintJob", data: Mapping[str, Any], at: float) -> None:
    job.progress, job.progress_message = data["progress"], data.get("message")


def _task_failed(job: "BlueprintJob", data: Mapping[str, Any], at: float) -> None:
    error = {"status": "failure", "error": data.get("error"), "worker_id": data.get("worker")}
    _answer(job, job.tasks.get(data["task"]), error)


def _answer(job: "BlueprintJob", task: Mapping[str, Any] | None, entry: dict[str, Any]) -> None:
    """A branch of a parallel step has answered; a later attempt takes the place of one that failed."""
    if task is None or task.get("parent", 0) not in job.groups:
        return
    for attempt in range(1, task.get("attempt", 1)):
        job.aggregation.pop(task_id(job.id, task["task"], attempt), None)
    name = task_id(job.id, task["task"], task.get("attempt", 1))
    told = {name: value for name, value in entry.items() if value is not None}
    job.aggregation[name] = {"job_id": job.summary.id, "task_id": name, **told}


def _forked(job: "BlueprintJob", data: Mapping[str, Any], at: float) -> None:
    job.groups[data["activation"]] = data
    job.aggregation = {}


def _group_over(job: "BlueprintJob", data: Mapping[str, Any], at: float) -> None:
    job.groups.pop(data["activation"], None)


def _context(job: "BlueprintJob", data: Mapping[str, Any], at: float) -> None:
    job.context.update(data.get("patch") or {})


def _emitted(job: "BlueprintJob", data: Mapping[str, Any], at: float) -> None:
    task = job.tasks.get(data.get("task") or 0)
    payload = data.get("payload")
    if task is None or not task.get("remember") or not isinstance(payload, dict):
        return
    if data["name"] in (task.get("event_transitions") or {}):
        job.context.update(payload)


def _child_started(job: "BlueprintJob", data: Mapping[str, Any], at: float) -> None:
    job.child = data["child"]
    if data.get("transitions") is not None:
        job.children.add(data["activation"])


def _child_ended(job: "BlueprintJob", data: Mapping[str, Any], at: float) -> None:
    if data["activation"] in job.children:
        job.children.discard(data["activation"])
        error = data.get("error")
        job.context[f"sub_job_{data['child']}_result"] = {
            "outcome": "success" if error is None else "failure",
            "final_state": data.get("final_state"),
            "error_message": None if error is None else error.get("message"),
        }


def _awaited(job: "BlueprintJob", data: Mapping[str, Any], at: float) -> None:
    if data.get("kind") == "approval":
        job.approvals[data["activation"]] = data


def _wait_over(job: "BlueprintJob", data: Mapping[str, Any], at: float) -> None:
    activation = data.get("activation") or 0
    job.approvals.pop(activation, None)
    job.children.discard(activation)


FOLDS: Final[dict[str, Fold]] = {
    "JobAccepted": _accepted,
    "HandlerAwaited": _handler_awaited,
    "HandlerDecided": _handler_decided,
    "HandlerFailed": _handler_failed,
    "TaskQueued": _released,
    "TaskReleased": _released,
    "TaskClaimed": _claimed,
    "TaskReturned": _returned,
    "TaskSucceeded": _succeeded,
    "TaskProgressed": _progressed,
    "TaskFailed": _task_failed,
    "TaskTimedOut": _task_failed,
    "BranchesForked": _forked,
    "JoinPassed": _group_over,
    "NodeCancelled": _wait_over,
    "ContextUpdated": _context,
    "EventEmitted": _emitted,
    "ChildStarted": _child_started,
    "ChildEnded": _child_ended,
    "SignalAwaited": _awaited,
    "ApprovalReceived": _wait_over,
    "WaitEnded": _wait_over,
}
