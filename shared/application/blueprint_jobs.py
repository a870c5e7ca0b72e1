"""A job as the clients of blueprints see it, folded from its events: a superset of its summary.

Statuses, keys and the rule for `result` are those that clients of blueprints have always read. Times are
seconds since the epoch.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID

from shared.application.blueprint_fold import FOLDS
from shared.application.blueprint_words import END, UPDATED, task_id
from shared.application.ports import StoredCommit
from shared.application.summary import JobSummary
from shared.domain.metadata import RESULT_TIMEOUT, of_client

BACKGROUND: Final = frozenset({"schedule", "parent"})
"""What triggers a job that no client asked for; its state tells when it began and changed."""
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
        fold = FOLDS.get(topic)
        if fold is not None:
            fold(self, data, at_us / 1_000_000)
        if self.summary.is_ended and "timestamp" not in self.marks:
            self.marks["timestamp"] = int(at_us / 1_000_000)
            self.groups.clear()
            self.approvals.clear()

    @property
    def status(self) -> str:
        status = self.summary.status
        if self.groups and status != "paused" and not self.summary.is_ended:
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
        return of_client(self.summary.metadata)

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
            "progress": _whole(self.progress),
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


def _whole(seconds: float | None) -> float | int | None:
    return int(seconds) if seconds is not None and seconds == int(seconds) else seconds


def _seconds(us: int | None) -> float | int | None:
    return None if us is None else _whole(round(us / 1_000_000, 3))


def _priority(urgency: int) -> float | int:
    """The dialect's own number: 0 is normal, higher is sooner, 50 steps of ours each."""
    return _whole((urgency - 500) / 50) or 0
