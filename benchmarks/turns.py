"""Two loads measured in turns: one stands still while the other works, many times in one run.

A machine that changes its speed within minutes makes a ratio of two runs a matter of luck. In short turns
each such change falls on both.
"""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic, sleep

from benchmarks.errors import SystemFailed
from benchmarks.metering import Meter, Usage, usage

TURN_SECONDS = 2.0
SETTLE_SECONDS = 0.1
"""How long a count must stay the same before it counts as that of the turn."""
PATIENCE_SECONDS = 60.0


@dataclass(slots=True)
class Side:
    """One load: the process that drives it and stands still between turns, and how far it is."""

    pid: int
    meter: Meter
    done: Callable[[], int]
    """How much was done so far; it may lag for a moment."""
    jobs: int = 0
    seconds: float = 0.0
    used: list[Usage] = field(default_factory=list)

    @property
    def cpu_us(self) -> dict[str, float]:
        """CPU microseconds per job, by role, over all turns."""
        total: dict[str, float] = {}
        for one in self.used:
            for role, seconds in one.cpu.items():
                total[role] = total.get(role, 0.0) + seconds * 1e6 / self.jobs
        return total

    @property
    def foreign_cores(self) -> float:
        """What strangers used during its turns."""
        return sum(one.foreign_cores * one.seconds for one in self.used) / sum(o.seconds for o in self.used)


def take_turns(sides: Sequence[Side], seconds: float) -> None:
    """Let each side work until it has had so many seconds. All of them work already.

    Raises SystemFailed when nothing is done in a turn.
    """
    with _standing_still(sides):
        for side in sides:
            _settled(side)
        for number in range(max(1, round(seconds / TURN_SECONDS))):
            for side in sides if number % 2 else reversed(sides):
                _turn(side)


def _turn(side: Side) -> None:
    sample, before = side.meter.sample(), side.done()
    start = monotonic()
    os.kill(side.pid, signal.SIGCONT)
    sleep(TURN_SECONDS)
    os.kill(side.pid, signal.SIGSTOP)
    lasted = monotonic() - start
    done = _settled(side) - before
    if not done:
        raise SystemFailed(f"nothing was done in a turn of {TURN_SECONDS:g} s")
    side.jobs += done
    side.seconds += lasted
    side.used.append(usage(sample, side.meter.sample()))


def _settled(side: Side) -> int:
    """What is done when no more comes."""
    stop, last = monotonic() + PATIENCE_SECONDS, -1
    while (now := side.done()) != last:
        if monotonic() > stop:
            raise SystemFailed(f"work goes on {PATIENCE_SECONDS:g} s after its driver was stopped")
        last = now
        sleep(SETTLE_SECONDS)
    return now


@contextmanager
def _standing_still(sides: Sequence[Side]) -> Iterator[None]:
    for side in sides:
        os.kill(side.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for side in sides:
            os.kill(side.pid, signal.SIGCONT)
