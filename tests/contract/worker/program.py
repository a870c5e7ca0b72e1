"""A worker program, as users write it: run as a process of its own by the tests."""

import os
import sys
import time
from typing import Any

from daybook import TaskContext, Worker
from daybook.errors import InvalidInput

worker = Worker(name="program", concurrency=2, drain_seconds=5)


@worker.skill("crunch", executor="process", timeout=20)
def crunch(given: dict[str, Any], task: TaskContext) -> dict[str, Any]:
    """Square a number; or misbehave as `how` says."""
    match given.get("how"):
        case "raise":
            raise InvalidInput("told to", code="told", details={"n": given["n"]})
        case "die":
            os._exit(7)
        case "sleep":
            task.progress(0.5, "sleeping")
            time.sleep(60)
        case "odd":
            return {"it": object()}
    return {"square": given["n"] ** 2, "pid": os.getpid(), "job": str(task.job_id)}


@worker.skill("later", executor="process")
async def later(given: dict[str, Any]) -> int:
    """A coroutine runs in a process too."""
    return int(given["n"]) + 1


def command() -> list[str]:
    """How to start this program."""
    return [sys.executable, "-m", "tests.contract.worker.program"]


if __name__ == "__main__":
    worker.run()
