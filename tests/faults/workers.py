"""The worker of the fault runs: small skills, each run of which is written down before and after it.

python -m tests.faults.workers --name w1 --nats nats://127.0.0.1:4222 --log executions.jsonl
"""

import argparse
import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from daybook import Worker
from daybook.errors import PermanentError, TransientError
from daybook.worker.context import TaskContext
from tests.faults.executions import ExecutionLog

Input = dict[str, Any]


def worker_of(name: str, nats_url: str, token: str, concurrency: int, log: Path, skills: list[str]) -> Worker:
    """A worker with the named skills, which writes to `log`."""
    worker = Worker(nats_url=nats_url, token=token, name=name, concurrency=concurrency)
    executions = ExecutionLog(log, name)

    @contextmanager
    def noted(task: TaskContext) -> Iterator[None]:
        run = executions.started(str(task.job_id), task.task, task.attempt, task.skill)
        try:
            yield
        finally:
            executions.ended(run)

    async def add(data: Input, task: TaskContext) -> Input:
        with noted(task):
            await asyncio.sleep(data.get("seconds", random.uniform(0, 0.02)))
        return {"x": data["x"] + 1}

    async def leaf(data: Input, task: TaskContext) -> Input:
        with noted(task):
            await asyncio.sleep(random.uniform(0, 0.01))
        return {"x": data["x"] * 10 + data["i"]}

    async def flaky(data: Input, task: TaskContext) -> Input:
        with noted(task):
            if task.attempt == 1:
                raise TransientError("the first attempt always fails")
        return {"x": data["x"] + 1}

    async def broken(data: Input, task: TaskContext) -> Input:
        with noted(task):
            raise PermanentError("it never works")

    for skill in (add, leaf, flaky, broken):
        if skill.__name__ in skills:
            worker.add(skill.__name__, skill)
    return worker


SKILLS = ("add", "leaf", "flaky", "broken")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--nats", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--skills", default=",".join(SKILLS))
    given = parser.parse_args()
    skills = given.skills.split(",")
    worker_of(given.name, given.nats, given.token, given.concurrency, given.log, skills).run()


if __name__ == "__main__":
    main()
