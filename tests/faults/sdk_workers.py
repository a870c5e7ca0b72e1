"""The skills of the fault runs for the avtomatika-worker SDK, run by the interpreter that has it.

EXECUTIONS names the log of the runs. The SDK's own variables say where it works, and under which name.
"""

import asyncio
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from avtomatika_worker import Worker  # type: ignore[import-not-found]  # it lives in another environment

from tests.faults.executions import ExecutionLog

worker = Worker(worker_type="faults")
executions = ExecutionLog(Path(os.environ["EXECUTIONS"]), os.environ["WORKER_ID"])


@contextmanager
def noted(task_id: str, skill: str) -> Iterator[int]:
    """Write the run down; which attempt it is."""
    _, job, task, attempt = task_id.split("-")
    run = executions.started(str(UUID(hex=job)), int(task), int(attempt), skill)
    try:
        yield int(attempt)
    finally:
        executions.ended(run)


@worker.skill("add")  # type: ignore[untyped-decorator]
async def add(params: dict[str, Any], task_id: str) -> dict[str, Any]:
    with noted(task_id, "add"):
        await asyncio.sleep(params.get("seconds", random.uniform(0, 0.02)))
    return {"data": {"x": params["x"] + 1}}


@worker.skill("leaf")  # type: ignore[untyped-decorator]
async def leaf(params: dict[str, Any], task_id: str) -> dict[str, Any]:
    with noted(task_id, "leaf"):
        await asyncio.sleep(random.uniform(0, 0.01))
    return {"data": {"x": params["x"] * 10 + params["i"]}}


@worker.skill("flaky")  # type: ignore[untyped-decorator]
async def flaky(params: dict[str, Any], task_id: str) -> dict[str, Any]:
    with noted(task_id, "flaky") as attempt:
        if attempt == 1:
            return _failure("TRANSIENT_ERROR", "the first attempt always fails")
    return {"data": {"x": params["x"] + 1}}


@worker.skill("broken")  # type: ignore[untyped-decorator]
async def broken(params: dict[str, Any], task_id: str) -> dict[str, Any]:
    with noted(task_id, "broken"):
        return _failure("PERMANENT_ERROR", "it never works")


def _failure(code: str, message: str) -> dict[str, Any]:
    return {"status": "failure", "error": {"code": code, "message": message}}


if __name__ == "__main__":
    worker.run()
