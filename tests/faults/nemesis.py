"""The nemesis: which process dies when, planned from a seed, and carried out while the load goes on.

The plan is told in acknowledged jobs, not in seconds, so that the same seed strikes at the same points of
the load on a slow machine and on a fast one.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.faults.checks import Kill
from tests.faults.crew import WorkerProcess
from tests.support.system import ROLES, System

TARGETS = (*ROLES, "worker")


@dataclass(frozen=True, slots=True)
class Strike:
    """Kill `role` as soon as `after` jobs are acknowledged and `delay` seconds have gone by."""

    after: int
    delay: float
    role: str
    which: int


def plan(seed: int, jobs: int, kills: int, roles: Sequence[str] = TARGETS) -> list[Strike]:
    """`kills` strikes in order, each role at least once if there are enough; the same for the same seed."""
    chance = random.Random(f"{seed} nemesis")
    chosen = [*roles, *chance.choices(roles, k=max(0, kills - len(roles)))][:kills]
    chance.shuffle(chosen)
    moments = sorted(chance.randrange(jobs // 20, max(jobs * 9 // 10, jobs // 20 + 1)) for _ in chosen)
    return [
        Strike(after, round(chance.uniform(0, 0.3), 3), role, chance.randrange(1_000_000))
        for after, role in zip(moments, chosen, strict=True)
    ]


@dataclass
class Nemesis:
    """Carries a plan out. `orphans` are processes that outlived their supervisor."""

    system: System
    workers: Sequence[WorkerProcess]
    kills: list[Kill] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)

    async def carry_out(self, strikes: Sequence[Strike], acknowledged: Callable[[], int]) -> None:
        """All strikes in order; returns when the last one is done and what it killed is started again."""
        for strike in strikes:
            while acknowledged() < strike.after:
                await asyncio.sleep(0.02)
            await asyncio.sleep(strike.delay)
            await self.strike(strike.role, strike.which)

    async def strike(self, role: str, which: int = 0) -> None:
        """Kill now. What nobody else starts again, a worker or the supervisor, is started again here."""
        if role == "worker":
            worker = self.workers[which % len(self.workers)]
            self._note(role, worker.kill())
            worker.start()
            return
        self._note(role, await self.system.kill(role, timeout=40))
        if role == "supervisor":
            self.orphans += await self.system.until_gone()
            await self.system.start()

    def _note(self, role: str, pid: int) -> None:
        self.kills.append(Kill(role, pid, time.time_ns() // 1000))
