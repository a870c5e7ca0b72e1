"""Holding workers to what they said of their skills."""

import logging
from typing import Any

from services.api.dialects.avtomatika.worker_models import Result
from services.api.dialects.avtomatika.worker_translation import REFUSED, VIOLATION
from services.api.gateway.gateway import Gateway
from services.api.gateway.tasks import Handed, Run

log = logging.getLogger(__name__)


def judged(gateway: Gateway, worker: str, run: Run | None, result: Result) -> Result:
    """The result; or the failure that it is, when a success breaks the skill's output schema.

    Statuses of the skill's own may come with other data.
    """
    if run is None or run.worker != worker or result.status not in (None, "success"):
        return result
    schema = gateway.roster.contract(worker, run.skill).gives
    problem = None if schema is None else schema.problem(result.data)
    if problem is None:
        return result
    text = f"Contract violation: result data does not match output_schema. {problem}"
    log.warning("worker %s, skill %s, job %s: %s", worker, run.skill, run.key.job, text)
    error = {"code": VIOLATION, "message": text}
    return Result(result.job_id, result.task_id, result.worker_id, "failure", None, error, result.costs)


def breach(gateway: Gateway, worker: str, run: Run | None, event: str, payload: Any) -> str | None:
    """What is wrong with an event by the schema that its skill has for it; None when nothing is."""
    if run is None or run.worker != worker:
        return None
    schema = gateway.roster.contract(worker, run.skill).tells.get(event)
    return None if schema is None else schema.problem(payload)


async def refused(gateway: Gateway, worker: str, handed: Handed) -> bool:
    """Whether the task's input is not what the worker's skill takes: then it has failed, as the worker
    itself would have made it fail.
    """
    task = handed.task
    problem = gateway.roster.contract(worker, task.skill).refuses(task.params)
    if problem is None:
        return False
    text = f"params do not match the input_schema of skill {task.skill!r}: {problem}"
    error = {"kind": "invalid_input", "code": REFUSED, "message": text}
    await gateway.result(task.key, worker, {"outcome": "failed", "error": error})
    return True
