"""A job as the clients of blueprints see it, folded from its events: a superset of its summary.

Statuses, keys and the rule for `result` are those that clients of blueprints have always read. Times are
seconds since the epoch.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID

from shared.application.ports import StoredCommit
from shared.application.summary import JobSummary
from shared.domain.values import Json

RESERVED: Final = "daybook."
"""Metadata keys with this prefix are the server's own."""
RESULT_TIMEOUT: Final = "daybook.result_timeout"
SECURITY: Final = "daybook.security"
CLIENT_TAG: Final = "client"
"""The tag by which a client's jobs are listed."""
TRIGGER_TAG: Final = ("daybook.trigger", "schedule")
"""Name and value of the tag by which jobs of schedules are counted."""
BACKGROUND: Final = frozenset({"schedule", "parent"})
"""What triggers a job that no client asked for; its state tells when it began and changed."""
UPDATED: Final = "@updated"
"""The key of the context that names what handlers updated: that is initial data, and no history."""
END: Final = ":end"
"""What stands behind an end state's name in the name of the node in which the job ends."""

TERMINAL: Final = frozenset({"finished", "failed", "error", "quarantined", "cancelled"})
STATUSES: Final = {
    "pending": "pending",
    "queued": "waiting_for_worker",
    "assigned": "running",
    "running": "running",
    "waiting_children": "waiting_for_sub_job",
    "waiting_signal": "waiting_for_human",
    "retry_scheduled": "pending",
    "paused": "pending",
    "succeeded": "finished",
    "failed": "failed",
    "timed_out": "failed",
    "cancelled": "cancelled",
    "quarantined": "quarantined",
}
"""Each status of the domain in the words of blueprints' clients."""


def task_id(job: UUID, task: int, attempt: int) -> str:
    """How one attempt of a task is called on the wire of blueprints."""
    return f"task-{job.hex}-{task}-{attempt}"


def attempts(max_retries: int) -> dict[str, Json]:
    """The retry policy of blueprints' tasks: tried again at once, then the job is set aside."""
    return {
        "max_attempts": max_retries + 1,
        "base_seconds": 0,
        "when_exhausted": "quarantine",
        "quarantine": ["permanent", "contract_violation"],
    }


class BlueprintJob:
    """The fold. Apply events in order; `state()` is what GET shows."""

    def __init__(self, job_id: UUID) -> None:
        self.id = job_id
        self.summary = JobSummary(id=str(job_id))
        self.accepted: Mapping[str, Any] = {}
        self.node: str | None = None
        self.step = 0
        self.context: dict[str, Any] = {}
        self.task: Mapping[str, Any] | None = None
        self.tasks: dict[int, Mapping[str, Any]] = {}
        self.groups: dict[int, Mapping[str, Any]] = {}
        self.aggregation: dict[str, Any] = {}
        self.child: str | None = None
        self.decided = False
        self.worked = False
        self.progress: float | int | None = None
        self.progress_message: str | None = None
        self.handler_failures = 0
        self.marks: dict[str, Any] = {}
        self.returned: Any = None
        self.children: set[int] = set()
        self.approvals: dict[int, Mapping[str, Any]] = {}
        self.updated_us = 0

    def apply(self, topic: str, data: Mapping[str, Any], at_us: int, sequence: int) -> None:
        """Fold one event. Raises UnknownEvent for one that no release of ours knows."""
        self.summary.apply(topic, data, at_us, sequence)
        self.updated_us = at_us
        fold = _FOLDS.get(topic)
        if fold is not None:
            fold(self, data, at_us / 1_000_000)
        if self.summary.is_ended and "timestamp" not in self.marks:
            self.marks["timestamp"] = int(at_us / 1_000_000)
            self.groups.clear()
            self.approvals.clear()

    @property
    def status(self) -> str:
        status = self.summary.status
        if self.groups and status not in ("paused",) and not self.summary.is_ended:
            return "waiting_for_parallel_tasks"
        if status == "pending" and self.decided:
            return "running"
        return STATUSES[status]

    @property
    def is_terminal(self) -> bool:
        return self.summary.is_ended

    @property
    def result(self) -> Any:
        """What the handler of the end returned; else what the job's state has left in the context; else what
        was left there last; else the job's output.
        """
        if self.returned is not None:
            return self.returned
        history = self.state_history
        if self.node is not None and self.node in history:
            return history[self.node]
        if history:
            return history[next(reversed(history))]
        return self.summary.output if self.worked or self.step == 0 else None

    @property
    def state_history(self) -> dict[str, Any]:
        """What handlers and workers have left, the newest last."""
        names = {UPDATED, *self.context.get(UPDATED, ())}
        return {name: value for name, value in self.context.items() if name not in names}

    @property
    def initial_data(self) -> Any:
        """What the job was submitted with, and what its handlers updated since."""
        given, names = self.summary.input, self.context.get(UPDATED)
        if not names or not isinstance(given, dict | None):
            return given
        return {**(given or {}), **{name: self.context[name] for name in names if name in self.context}}

    @property
    def error_message(self) -> str | None:
        error = self.summary.error
        if error is None:
            return None
        message = str(error.get("message") or error.get("kind"))
        # People know the state, not the node behind it.
        return message.replace(f"{self.node}{END}", str(self.node))

    @property
    def metadata(self) -> dict[str, Any]:
        """The client's own metadata."""
        return {k: v for k, v in self.summary.metadata.items() if not k.startswith(RESERVED)}

    def state(self) -> dict[str, Any]:
        """The job in full; what is None is not shown. No token and no header is ever in it."""
        summary, get = self.summary, self.accepted.get
        error = self.error_message if self.is_terminal else None
        parent = summary.parent
        background = get("trigger") in BACKGROUND
        return {
            "id": summary.id,
            "blueprint_name": summary.workflow or summary.skill,
            "current_state": self.node,
            "initial_data": self.initial_data,
            "state_history": self.state_history,
            "status": self.status,
            "tracing_context": {"traceparent": get("trace")} if get("trace") else {},
            "webhook_url": summary.webhook_url,
            "dispatch_timeout": _whole(get("dispatch_timeout")),
            "result_timeout": _whole(summary.metadata.get(RESULT_TIMEOUT)),
            "metadata": self.metadata or None,
            "policy": get("policy"),
            "max_transitions": get("max_transitions"),
            "retry_count": summary.retries + self.handler_failures,
            "step": self.step,
            "aggregation_results": dict(self.aggregation),
            **self._task_state(),
            **self._group_state(),
            "progress": self.progress,
            "progress_message": self.progress_message,
            "child_job_id": self.child,
            "parent_job_id": None if parent is None else parent["job"],
            "depth": get("depth") or None,
            "result": self.result if self.is_terminal else None,
            "error_message": error,
            "created_at": _seconds(summary.created_at) if background else None,
            "updated_at": _seconds(self.updated_us) if background else None,
            **self.marks,
        }

    def _task_state(self) -> dict[str, Any]:
        task = self.task
        if task is None:
            return {}
        get = task.get
        placement = get("placement") or {}
        transitions = {port: node.removesuffix(END) for port, node in (get("transitions") or {}).items()}
        events = get("event_transitions") or {}
        info = {
            "type": task["skill"],
            "params": get("input"),
            "transitions": transitions,
            "event_transitions": events,
            "dispatch_strategy": placement.get("strategy", "default"),
            "priority": _priority(get("urgency", 500)),
            "timeout_seconds": _whole(get("run_timeout")),
            "dispatch_timeout": _whole(get("dispatch_timeout")),
            "resource_requirements": placement.get("resources"),
            "max_cost": placement.get("max_cost"),
            "skill_version": placement.get("skill_version"),
            "skill_type": placement.get("skill_type"),
        }
        return {
            "current_task_id": task_id(self.id, task["task"], get("attempt", 1)),
            "current_task_info": {name: value for name, value in info.items() if value is not None},
            "current_task_transitions": transitions,
            "current_task_event_transitions": events,
            "assigned_worker_id": self.summary.worker,
            "task_worker_id": self.summary.worker,
            "execution_timeout_seconds": _whole(get("run_timeout")),
            "dispatch_deadline": _seconds(get("dispatch_by")),
            "result_deadline": _seconds(get("result_by") or self.summary.deadline),
        }

    def _group_state(self) -> dict[str, Any]:
        if not self.groups:
            return {}
        branches = [
            task for task in self.tasks.values() if task.get("parent") in self.groups and "task" in task
        ]
        waiting = [task for task in branches if task["task"] in self.summary.tasks]
        named = {task_id(self.id, task["task"], task.get("attempt", 1)): task for task in branches}
        last = next(reversed(self.groups.values()))
        return {
            "aggregation_target": last.get("join"),
            "active_branches": [task_id(self.id, task["task"], task.get("attempt", 1)) for task in waiting],
            "parallel_tasks_info": {
                name: {"type": task["skill"], "params": task.get("input")} for name, task in named.items()
            },
        }


def job_of(job_id: UUID, commits: Iterable[StoredCommit]) -> BlueprintJob | None:
    """The job as all its commits give it, None when there are none."""
    job: BlueprintJob | None = None
    for commit in commits:
        if job is None:
            job = BlueprintJob(job_id)
            job.summary.first_sequence = commit.sequence
        for topic, data in commit.events:
            job.apply(topic, data, commit.at, commit.sequence)
    return job


def _accepted(job: BlueprintJob, data: Mapping[str, Any], at: float) -> None:
    job.accepted = data


def _handler_awaited(job: BlueprintJob, data: Mapping[str, Any], at: float) -> None:
    job.node = data["node"]
    job.step += 1
    job.groups.clear()


def _handler_decided(job: BlueprintJob, data: Mapping[str, Any], at: float) -> None:
    job.decided = True
    job.handler_failures = 0
    action = data["action"]
    patch = action.get("context")
    if isinstance(patch, dict):
        job.context.update(patch)
    ends = action.get("type") == "GoTo" and str(action.get("node")).endswith(END)
    job.returned = action.get("payload") if ends else None


def _handler_failed(job: BlueprintJob, data: Mapping[str, Any], at: float) -> None:
    if data.get("retried"):
        job.handler_failures += 1


def _released(job: BlueprintJob, data: Mapping[str, Any], at: float) -> None:
    job.task = job.tasks[data["task"]] = data
    if job.step == 0:
        job.node = data.get("node", "task")  # no blueprint: the node of the task is where the job is
    job.summary.worker = None
    job.marks["task_dispatched_at"] = int(at)
    job.marks.pop("task_picked_up_at", None)


def _claimed(job: BlueprintJob, data: Mapping[str, Any], at: float) -> None:
    started = data.get("started_at")
    job.marks["task_picked_up_at"] = int(at if started is None else started / 1_000_000)


def _returned(job: BlueprintJob, data: Mapping[str, Any], at: float) -> None:
    job.marks.pop("task_picked_up_at", None)


def _succeeded(job: BlueprintJob, data: Mapping[str, Any], at: float) -> None:
    job.marks.setdefault("task_picked_up_at", int((data.get("started_at") or at * 1e6) / 1_000_000))
    task = job.tasks.get(data["task"])
    job.worked = True
    output = data.get("output")
    if task is not None and task.get("remember") and isinstance(output, dict):
        job.context.update(output)
    _answer(job, task, {"data": output, "worker_id": data.get("worker")})


def _progressed(job: BlueprintJob, data: Mapping[str, Any], at: float) -> None:
    job.progress, job.progress_message = _whole(data["progress"]), data.get("message")


def _task_failed(job: BlueprintJob, data: Mapping[str, Any], at: float) -> None:
    error = {"status": "failure", "error": data.get("error"), "worker_id": data.get("worker")}
    _answer(job, job.tasks.get(data["task"]), error)


def _answer(job: BlueprintJob, task: Mapping[str, Any] | None, entry: dict[str, Any]) -> None:
    """A branch of a parallel step has answered; a later attempt takes the place of one that failed."""
    if task is None or task.get("parent", 0) not in job.groups:
        return
    for attempt in range(1, task.get("attempt", 1)):
        job.aggregation.pop(task_id(job.id, task["task"], attempt), None)
    name = task_id(job.id, task["task"], task.get("attempt", 1))
    told = {name: value for name, value in entry.items() if value is not None}
    job.aggregation[name] = {"job_id": job.summary.id, "task_id": name, **told}


def _forked(job: BlueprintJob, data: Mapping[str, Any], at: float) -> None:
    job.groups[data["activation"]] = data
    job.aggregation = {}


def _group_over(job: BlueprintJob, data: Mapping[str, Any], at: float) -> None:
    job.groups.pop(data["activation"], None)


def _context(job: BlueprintJob, data: Mapping[str, Any], at: float) -> None:
    job.context.update(data.get("patch") or {})


def _emitted(job: BlueprintJob, data: Mapping[str, Any], at: float) -> None:
    task = job.tasks.get(data.get("task") or 0)
    payload = data.get("payload")
    if task is None or not task.get("remember") or not isinstance(payload, dict):
        return
    if data["name"] in (task.get("event_transitions") or {}):
        job.context.update(payload)


def _child_started(job: BlueprintJob, data: Mapping[str, Any], at: float) -> None:
    job.child = data["child"]
    if data.get("transitions") is not None:
        job.children.add(data["activation"])


def _child_ended(job: BlueprintJob, data: Mapping[str, Any], at: float) -> None:
    if data["activation"] in job.children:
        job.children.discard(data["activation"])
        error = data.get("error")
        job.context[f"sub_job_{data['child']}_result"] = {
            "outcome": "success" if error is None else "failure",
            "final_state": data.get("final_state"),
            "error_message": None if error is None else error.get("message"),
        }


def _awaited(job: BlueprintJob, data: Mapping[str, Any], at: float) -> None:
    if data.get("kind") == "approval":
        job.approvals[data["activation"]] = data


def _wait_over(job: BlueprintJob, data: Mapping[str, Any], at: float) -> None:
    activation = data.get("activation") or 0
    job.approvals.pop(activation, None)
    job.children.discard(activation)


_FOLDS: Final = {
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


def _whole(seconds: float | None) -> float | int | None:
    return int(seconds) if seconds is not None and seconds == int(seconds) else seconds


def _seconds(us: int | None) -> float | int | None:
    return None if us is None else _whole(round(us / 1_000_000, 3))


def _priority(urgency: int) -> float | int:
    """The dialect's own number: 0 is normal, higher is sooner, 50 steps of ours each."""
    return _whole((urgency - 500) / 50) or 0
