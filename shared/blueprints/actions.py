"""Between the dictionaries that handlers choose and the domain's actions; and a job as handlers see it."""

from collections.abc import Mapping
from typing import Any

from shared.domain.job import (
    Action,
    AwaitApproval,
    Dispatch,
    GoTo,
    Job,
    Parallel,
    RunHandler,
    RunWorkflow,
    TaskSpec,
)


def action_of(document: Mapping[str, Any]) -> Action:
    """The action that a handler recorded (daybook.blueprint.actions)."""
    fields = {name: value for name, value in document.items() if name != "type"}
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
    """A job as the handlers of its states see it (daybook.blueprint.blueprint.VIEW)."""
    spec = job.spec
    return {
        "job_id": str(job.id),
        "workflow": spec.workflow,
        "input": spec.input,
        "context": job.context,
        "results": job.outputs,
        "last": effect.payload,
        "node": effect.node,
        "tags": spec.tags,
        "metadata": spec.metadata,
        "attempt": effect.attempt,
    }
