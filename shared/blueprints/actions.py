"""Between the dictionaries that handlers choose and the domain's actions; and a job as handlers see it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from shared.application.blueprint_words import task_id
from shared.domain.job import (
    Action,
    AwaitApproval,
    Dispatch,
    Emission,
    GoTo,
    Job,
    Parallel,
    RunHandler,
    RunWorkflow,
    TaskSpec,
)
from shared.domain.job.state import Task
from shared.domain.job.walk import ANY_PORT
from shared.domain.metadata import CLIENT, of_client


def action_of(document: Mapping[str, Any]) -> Action:
    """The action that a handler recorded (daybook.blueprint.actions)."""
    fields = {name: value for name, value in document.items() if name != "type"}
    if "events" in fields:
        fields["events"] = tuple(Emission(**told) for told in fields["events"])
    match document["type"]:
        case "GoTo":
            return GoTo(**fields)
        case "Dispatch":
            return Dispatch(**{**fields, "task": TaskSpec(**fields["task"])})
        case "Parallel":
            return Parallel(**{**fields, "tasks": tuple(TaskSpec(**task) for task in fields["tasks"])})
        case "AwaitApproval":
            return AwaitApproval(**fields)
        case "RunWorkflow":
            return RunWorkflow(**fields)
        case unknown:
            raise AssertionError(f"no action is called {unknown!r}")


def view_of(job: Job, effect: RunHandler) -> dict[str, Any]:
    """A job as the handlers of its states see it (daybook.blueprint.context)."""
    spec = job.spec
    client = (spec.metadata or {}).get(CLIENT)
    target, answers = answers_of(job)
    return {
        "job_id": str(job.id),
        "workflow": spec.workflow,
        "input": spec.input,
        "context": job.context,
        "results": job.outputs,
        "last": effect.payload,
        "node": effect.node,
        "tags": spec.tags,
        "metadata": of_client(spec.metadata) or None,
        "attempt": effect.attempt,
        "client": client,
        "tracing_context": {} if spec.trace is None else {"traceparent": spec.trace},
        "webhook_url": spec.webhook_url,
        "policy": spec.policy,
        "aggregation_results": answers,
        "aggregated": target == effect.node,
    }


def answers_of(job: Job) -> tuple[str | None, dict[str, Any]]:
    """The answers to the parallel tasks that a handler dispatched last, by task, and the state they lead to.

    An answer has the ids of the task, its job and its worker, a `status`, and `data` or an `error`.
    """
    group, target = 0, None
    for task in job.tasks.values():
        if task.parent >= group and task.transitions is not None and ANY_PORT in task.transitions:
            group, target = task.parent, task.transitions[ANY_PORT]
    if target is None:
        return None, {}
    branches = (task for task in job.tasks.values() if task.parent == group)
    return target, {
        task_id(job.id, task.id, task.attempt): _answer(job.id, task) for task in branches if task.transitions
    }


def _answer(job: UUID, task: Task) -> dict[str, Any]:
    ids = {"job_id": str(job), "task_id": task_id(job, task.id, task.attempt), "worker_id": task.worker}
    return {**{name: value for name, value in ids.items() if value is not None}, **_outcome(task)}


def _outcome(task: Task) -> dict[str, Any]:
    result: Any = task.result
    if task.status == "succeeded" and result is not None:
        return {"status": result[2], "data": result[3]}
    if task.status == "failed" and result is not None:
        error = result[3]
        told = {name: error[name] for name in ("message", "details") if name in error}
        code = error.get("code") or error["kind"].upper() + "_ERROR"
        stopped = error["kind"] == "cancelled"
        return {"status": "cancelled" if stopped else "failure", "error": {"code": code, **told}}
    if task.status == "timed_out":
        error = {"code": "TIMEOUT_ERROR", "message": "there was no answer in time"}
        return {"status": "failure", "error": error}
    return {"status": "cancelled" if task.status == "cancelled" else "pending"}
