"""A worker for tests, as a process of its own: `python -m tests.integration.dispatcher.skills`."""

import asyncio
from collections import Counter
from typing import Any

from daybook import Worker
from daybook.errors import PermanentError, TransientError

worker = Worker(name="skills", concurrency=50)
_tries: Counter[str] = Counter()


@worker.skill("echo")
async def echo(task: dict[str, Any]) -> dict[str, Any]:
    """Gives back what it got."""
    return {"echo": task}


@worker.skill("add")
def add(task: dict[str, Any]) -> dict[str, Any]:
    """One more, in a thread."""
    return {"n": task.get("n", 0) + 1}


@worker.skill("sleep")
async def sleep(task: dict[str, Any]) -> dict[str, Any]:
    """Takes its time."""
    await asyncio.sleep(task["seconds"])
    return {"slept": task["seconds"]}


@worker.skill("flaky")
async def flaky(task: dict[str, Any]) -> dict[str, Any]:
    """Fails a number of times first."""
    _tries[task["key"]] += 1
    if _tries[task["key"]] <= task["failures"]:
        raise TransientError("not yet")
    return {"tries": _tries[task["key"]]}


@worker.skill("refuse")
async def refuse(task: dict[str, Any]) -> None:
    """Never works."""
    raise PermanentError("no", code="refused")


if __name__ == "__main__":
    worker.run()
