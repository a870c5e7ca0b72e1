"""A running system with workers, and the few things that a scenario does with it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from tests.faults import load, reading
from tests.faults.checks import RULES, violations
from tests.faults.crew import WorkerProcess, native_worker
from tests.faults.evidence import Evidence, Kill, Violation
from tests.faults.executions import Execution, read_executions
from tests.faults.reading import JournalReader
from tests.faults.run import SHORTER
from tests.faults.synthetic import token
from tests.faults.workload import GRAPHS
from tests.support.system import System


@dataclass
class Scene:
    """`system` with a client and the log that all `workers` write to."""

    folder: Path
    system: System
    client: httpx.AsyncClient
    stack: AsyncExitStack
    workers: dict[str, WorkerProcess] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        return self.folder / "executions.jsonl"

    def worker(self, name: str = "w1", concurrency: int = 16) -> WorkerProcess:
        """Start a worker; it ends with the scene."""
        worker = native_worker(self.system, name, self.log, concurrency)
        self.stack.callback(worker.destroy)
        worker.start()
        self.workers[name] = worker
        return worker

    def executions(self, job: UUID | None = None) -> list[Execution]:
        """What the workers have run so far, of one job or of all."""
        return [run for run in read_executions(self.log) if job is None or run.job == job]

    async def submit(self, **request: Any) -> UUID:
        """Submit a job; its id."""
        answer = await self.client.post("/v1/jobs", json=request)
        assert answer.status_code == 202, answer.text
        return UUID(answer.json()["job_id"])

    async def status(self, job: UUID) -> str:
        answer = await self.client.get(f"/v1/jobs/{job}")
        return str(answer.json()["status"]) if answer.status_code == 200 else "unknown"

    async def ended(self, *jobs: UUID, timeout: float = 90.0) -> list[str]:
        """Wait for jobs to end by the journal; their terminal events."""
        reader = JournalReader(self.system)

        async def all_ended() -> bool:
            await reader.catch_up()
            return reader.ended.issuperset(jobs)

        await self.until(all_ended, timeout)
        ends = reader.history().ends
        return [ends[job][0].topic for job in jobs]

    async def until(self, holds: Callable[[], Any], timeout: float = 60.0) -> Any:
        """Wait until `holds()`, awaited if need be, is true; what it answered."""
        deadline = time.monotonic() + timeout
        while True:
            answer = holds()
            if asyncio.iscoroutine(answer):
                answer = await answer
            if answer:
                return answer
            assert time.monotonic() < deadline, f"nothing after {timeout:g} s:\n{self.last_words()}"
            await asyncio.sleep(0.05)

    async def until_queues_are_empty(self, timeout: float = 90.0) -> None:
        """Wait until no queue holds a message that waits or is not acknowledged."""

        async def empty() -> bool:
            return not any((await reading.waiting(self.system)).values())

        await self.until(empty, timeout)

    async def evidence(self) -> Evidence:
        """What the journal and the workers' log say now."""
        reader = JournalReader(self.system)
        await reader.catch_up()
        kills = [
            Kill("worker", pid, at) for worker in self.workers.values() for pid, at in worker.deaths.items()
        ]
        return Evidence(reader.history(), executions=self.executions(), kills=kills)

    async def violations(self) -> list[Violation]:
        return violations(await self.evidence())

    def last_words(self) -> str:
        words = [self.system.last_words(), *(worker.last_words() for worker in self.workers.values())]
        return "\n".join(words)


@asynccontextmanager
async def scene(folder: Path, environment: Mapping[str, str] | None = None) -> AsyncIterator[Scene]:
    """A system that serves, its workflows published, and everything ended behind it."""
    system = System(folder / "data", {**SHORTER, **(environment or {})})
    async with AsyncExitStack() as stack:
        stack.callback(system.destroy)
        await system.start()
        client = await stack.enter_async_context(system.client())
        await load.publish(client, GRAPHS)
        yield Scene(folder, system, client, stack)
        if system.find("supervisor") is not None:
            await system.stop()


def rules(found: list[Violation]) -> set[str]:
    """The names of the rules that were violated; each is one of RULES."""
    names = {violation.rule for violation in found}
    assert names <= {rule.__name__ for rule in RULES}
    return names


async def report(system: System, job: UUID, **fields: Any) -> dict[str, Any]:
    """Send what a worker would send; the verdict."""
    nc = await reading.connect(system)
    try:
        answer = await nc.request(f"report.{token(job)}", json.dumps(fields).encode(), timeout=30)
        verdict: dict[str, Any] = json.loads(answer.data)
        return verdict
    finally:
        await nc.close()
