"""One fault run from the start of the system to the verdict."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
from nats.errors import Error as NatsError

from tests.faults import load, reading, rows
from tests.faults.checks import violations
from tests.faults.crew import native_worker, sdk_worker
from tests.faults.disk import Disk
from tests.faults.evidence import OVER_HTTP, REDELIVERING, Evidence, Violation, summary
from tests.faults.executions import read_executions
from tests.faults.ledger import Ledger, Order
from tests.faults.nemesis import POWER, STALLS, TARGETS, Nemesis, Strike, plan
from tests.faults.reading import JournalReader
from tests.faults.workload import GRAPHS, orders
from tests.support.system import System

Tell = Callable[[str, int, int], None]
"""Hears (phase, done, total), for a progress bar."""


@dataclass(frozen=True)
class Plan:
    """All that decides a run; the same plan gives the same load and the same strikes.

    `rate` is submissions a second; `quiet_seconds` is how long the jobs may take to end once the last strike
    is over. `workers` are native ones, or those of the avtomatika-worker SDK.
    """

    seed: int
    jobs: int = 6000
    kills: int = 60
    rate: float = 40.0
    quiet_seconds: float = 180.0
    roles: Sequence[str] = TARGETS + STALLS
    environment: Mapping[str, str] = field(default_factory=dict)
    workers: Literal["native", "sdk"] = "native"

    @property
    def orders(self) -> list[Order]:
        return orders(self.seed, self.jobs)

    @property
    def strikes(self) -> list[Strike]:
        return plan(self.seed, self.jobs, self.kills, self.roles)


@dataclass
class Result:
    """What a run found. `difference` shows the first row of the read model that is wrong, if one is."""

    violations: list[Violation]
    numbers: dict[str, int]
    seconds: dict[str, float]
    difference: str = ""

    @property
    def holds(self) -> bool:
        return not self.violations

    def __str__(self) -> str:
        lines = [f"{count:>8} {name}" for name, count in self.numbers.items()]
        lines += [f"{seconds:>8.1f} s {name}" for name, seconds in self.seconds.items()]
        lines += [str(violation) for violation in self.violations[:50]]
        if self.difference:
            lines.append(self.difference)
        lines.append(f"{len(self.violations)} violations")
        return "\n".join(lines)


SHORTER = {"DAYBOOK_LEASE_SECONDS": "6", "DAYBOOK_ACK_WAIT_SECONDS": "4", "DAYBOOK_BEAT_SECONDS": "1"}
"""Settings with which a lost worker is found out in seconds, not in a minute, for runs that must be short."""


async def run(plan: Plan, folder: Path, tell: Tell = lambda phase, done, total: None) -> Result:
    """Carry `plan` out in `folder` and judge what it left behind. The folder keeps everything for a look."""
    disk = Disk(folder) if POWER in plan.roles else None
    system = System(folder / "data", plan.environment)
    log = folder / "executions.jsonl"
    over_http = plan.workers == "sdk"
    workers = [(sdk_worker if over_http else native_worker)(system, name, log) for name in ("w1", "w2")]
    ledger = Ledger(folder / "ledger.jsonl")
    reader = JournalReader(system)
    nemesis = Nemesis(system, workers, disk)
    seconds: dict[str, float] = {}
    async with AsyncExitStack() as stack:
        if disk is not None:
            stack.callback(disk.close)
            disk.open()
        stack.callback(system.destroy)
        await timed(seconds, "until it served", system.start())
        for worker in workers:
            stack.callback(worker.destroy)
            worker.start()
        client = await stack.enter_async_context(system.client(timeout=5.0))
        await load.publish(client, GRAPHS)
        await timed(seconds, "under load and kills", _attack(plan, client, ledger, nemesis, tell))
        await system.until_serving()
        await timed(seconds, "until all had ended", _until_ended(plan, reader, ledger, tell))
        queues = await timed(seconds, "until the queues were empty", _until_empty(system, 60))
        for worker in workers:
            worker.stop()
        await reader.catch_up()
        await _until_projected(system, reader)
        await timed(seconds, "until it had stopped", system.stop())
        orphans = nemesis.orphans + await system.until_gone(20)
        compared = rows.compare(system.data, reader.messages, folder / "rebuilt")
    evidence = Evidence(
        history=reader.history(),
        ledger=ledger,
        executions=read_executions(log),
        kills=nemesis.kills,
        expected_roles=plan.roles,
        redelivering=REDELIVERING | OVER_HTTP if over_http else REDELIVERING,
        served=compared.served,
        rebuilt=compared.rebuilt,
        poisoned=compared.poisoned,
        waiting=queues,
        orphans=orphans,
    )
    return Result(violations(evidence), summary(evidence), seconds, compared.difference)


async def timed(seconds: dict[str, float], name: str, work: Awaitable[Any]) -> Any:
    begun = time.monotonic()
    try:
        return await work
    finally:
        seconds[name] = time.monotonic() - begun


async def _attack(
    plan: Plan, client: httpx.AsyncClient, ledger: Ledger, nemesis: Nemesis, tell: Tell
) -> None:
    """Load and kills at once; returns when both are done."""

    def told(done: int) -> None:
        tell("submitting", done, plan.jobs)

    async with asyncio.TaskGroup() as group:
        group.create_task(nemesis.carry_out(plan.strikes, lambda: len(ledger.acknowledged_jobs)))
        group.create_task(load.drive(client, plan.orders, ledger, plan.rate, told=told))


async def _until_ended(plan: Plan, reader: JournalReader, ledger: Ledger, tell: Tell) -> None:
    """Follow the journal until every job has ended, or time runs out: the rules judge what is open then."""
    deadline = time.monotonic() + plan.quiet_seconds
    while time.monotonic() < deadline:
        with suppress(NatsError, OSError):
            await reader.catch_up()
        tell("ending", len(reader.ended), len(reader.jobs))
        if len(reader.ended) == len(reader.jobs) >= len(ledger.acknowledged_jobs):
            return
        await asyncio.sleep(0.5)


async def _until_empty(system: System, timeout: float) -> dict[str, int]:
    """Wait for the queues to be empty; what they hold when time runs out."""
    deadline = time.monotonic() + timeout
    while True:
        queues = await reading.waiting(system)
        if not any(queues.values()) or time.monotonic() > deadline:
            return queues
        await asyncio.sleep(0.25)


async def _until_projected(system: System, reader: JournalReader, timeout: float = 30.0) -> None:
    """Wait until the read model is as far as the journal; a projector that never is, is found out later."""
    deadline = time.monotonic() + timeout
    last = reader.messages[-1][0]
    while time.monotonic() < deadline:
        if await reading.projected(system) >= last:
            return
        await asyncio.sleep(0.1)
