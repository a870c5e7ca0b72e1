"""The nemesis: which process dies or stalls when, planned from a seed and carried out under load.

The plan is told in acknowledged jobs, not in seconds, so that the same seed strikes at the same points of
the load on a slow machine and on a fast one.
"""

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import psutil  # type: ignore[import-untyped]

from tests.faults.crew import WorkerProcess
from tests.faults.disk import Disk
from tests.faults.evidence import Kill
from tests.support.system import ROLES, SERVICES, System

TARGETS = (*ROLES, "worker")
STALLED = "stalled "
STALLS = tuple(STALLED + role for role in (*SERVICES, "nats", "worker"))
"""A process that stands still for seconds, as in a long collection of garbage, and then goes on."""

POWER = "power"
"""The power of the machine that the system and its workers run on."""


@dataclass(frozen=True, slots=True)
class Strike:
    """Strike `role` as soon as `after` jobs are acknowledged and `delay` seconds have gone by."""

    after: int
    delay: float
    role: str
    which: int
    stall: float = 0.0


def plan(seed: int, jobs: int, kills: int, roles: Sequence[str] = TARGETS) -> list[Strike]:
    """`kills` strikes in order, each role at least once if there are enough; the same for the same seed."""
    chance = random.Random(f"{seed} nemesis")
    chosen = [*roles, *chance.choices(roles, k=max(0, kills - len(roles)))][:kills]
    chance.shuffle(chosen)
    moments = sorted(chance.randrange(jobs // 20, max(jobs * 9 // 10, jobs // 20 + 1)) for _ in chosen)
    return [
        Strike(
            after,
            delay=round(chance.uniform(0, 0.3), 3),
            role=role,
            which=chance.randrange(1_000_000),
            stall=round(chance.uniform(0.5, 9), 1) if role.startswith(STALLED) else 0.0,
        )
        for after, role in zip(moments, chosen, strict=True)
    ]


@dataclass
class Nemesis:
    """Carries a plan out. `orphans` are processes that outlived their supervisor."""

    system: System
    workers: Sequence[WorkerProcess]
    disk: Disk | None = None
    kills: list[Kill] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)

    async def carry_out(self, strikes: Sequence[Strike], acknowledged: Callable[[], int]) -> None:
        """All strikes in order; returns when the last one is done and what it killed is started again."""
        for strike in strikes:
            while acknowledged() < strike.after:
                await asyncio.sleep(0.02)
            await asyncio.sleep(strike.delay)
            if strike.role == POWER:
                await self.cut_power()
            elif strike.stall:
                await self.stall(strike.role, strike.which, strike.stall)
            else:
                await self.kill(strike.role, strike.which)

    async def stall(self, role: str, which: int, seconds: float) -> None:
        """Stop a process for a while."""
        target = role.removeprefix(STALLED)
        if target == "worker":
            pid = self.workers[which % len(self.workers)].pid
        else:
            pid = await self.system.living(target, timeout=40)
        os.kill(pid, signal.SIGSTOP)
        self._note(role, pid, seconds)
        try:
            await asyncio.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)

    async def kill(self, role: str, which: int = 0) -> None:
        """kill -9. What nobody else starts again, a worker or the supervisor, is started again here."""
        if role == "worker":
            worker = self.workers[which % len(self.workers)]
            self._note(role, worker.kill())
            worker.start()
            return
        self._note(role, await self.system.kill(role, timeout=40))
        if role == "supervisor":
            self.orphans += await self.system.until_gone()
            await self.system.start()

    async def cut_power(self) -> None:
        """Everything stands still at once, the disk keeps what it has, and everything is started again.

        The client lives on another machine: what it was answered before counts.
        """
        disk = self.disk
        assert disk is not None
        supervisor = await self.system.living("supervisor", timeout=40)
        for worker in self.workers:
            worker.pause()
        for process in self.system.processes():
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        disk.cut()
        self._note(POWER, supervisor)
        for worker in self.workers:
            worker.kill()
        self.system.destroy()
        self.orphans += await self.system.until_gone()
        await asyncio.to_thread(disk.again)
        await self.system.start()
        for worker in self.workers:
            worker.start()

    def _note(self, role: str, pid: int, stalled: float = 0.0) -> None:
        self.kills.append(Kill(role, pid, time.time_ns() // 1000, int(stalled * 1_000_000)))
