"""Where one process spends its CPU under a load: `python -m benchmarks profile W1 --role dispatcher`.

The sampling is done by py-spy, which is not a dependency: it is taken from the path or from `--py-spy`.
"""

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands import Bulk, Closed
from benchmarks.driver import LoadGenerator
from benchmarks.errors import NotInstalled, SystemFailed
from benchmarks.metering import usage
from benchmarks.scenarios.throughput import BULK, IN_FLIGHT, WARM_UP_SECONDS, bulk_command
from benchmarks.system import Durability, System
from benchmarks.workloads import ONE_STEP, WORKLOADS

RATE = 250
STARTED_BEFORE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Profile:
    """Shares (0..1) of a process's samples while it ran, and its CPU microseconds per job under py-spy.

    `own`: in the function itself; `below`: in it or in what it calls; `files`: in the file itself.
    """

    role: str
    cpu_us: float
    samples: int
    own: list[tuple[str, float]]
    below: list[tuple[str, float]]
    files: list[tuple[str, float]]


def find(path: str | None) -> str:
    """The py-spy to run. Raises NotInstalled."""
    found = shutil.which(path or "py-spy")
    if found is None:
        raise NotInstalled(
            f"{path or 'py-spy'} is not there; `python -m venv DIR && DIR/bin/pip install py-spy`, then "
            "give `--py-spy DIR/bin/py-spy`"
        )
    return found


def profile(
    scenario: str, role: str, py_spy: str, seconds: float, durability: Durability, keep: Path | None
) -> Profile:
    """Run the load (the name of a workload, or bulk) and sample one role.

    `keep` receives the collapsed stacks (for flame graphs).
    """
    workload = {workload.name: workload for workload in WORKLOADS}.get(scenario, ONE_STEP)
    with System(durability) as system, LoadGenerator() as load:
        system.prepare(workload)

        def command(seconds: float) -> Closed | Bulk:
            if scenario == BULK:
                return bulk_command(system, seconds=seconds)
            return Closed(system.url, system.submit(workload), '"status":"succeeded"', IN_FLIGHT, seconds)

        load.run(command(WARM_UP_SECONDS))
        meter = system.meter(load.pid)
        pid = next((pid for pid, known in meter.roles().items() if known == role), None)
        if pid is None:
            raise SystemFailed(f"no process of role {role}; there are {sorted(set(meter.roles().values()))}")
        stacks = (keep or system.data / "stacks.txt").absolute()
        spy = subprocess.Popen(
            [
                *(py_spy, "record", "--pid", str(pid), "--duration", str(round(seconds))),
                *("--rate", str(RATE), "--nonblocking", "--format", "raw", "--output", str(stacks)),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        before = meter.sample()
        ran = load.run(command(seconds + STARTED_BEFORE_SECONDS))
        cost = usage(before, meter.sample()).per_job_us(ran.done)[role]
        _, errors = spy.communicate()
        if spy.returncode:
            raise SystemFailed(f"py-spy: {errors.decode(errors='replace')[-600:]}")
        return summary(role, cost, stacks.read_text().splitlines())


def summary(role: str, cpu_us: float, lines: Iterable[str], top: int = 25) -> Profile:
    """Shares from collapsed stacks: `outer (file:line);inner (file:line) count` a line."""
    own: Counter[str] = Counter()
    below: Counter[str] = Counter()
    files: Counter[str] = Counter()
    samples = 0
    for line in lines:
        stack, _, count = line.rpartition(" ")
        frames = [_frame(frame) for frame in stack.split(";")]
        samples += int(count)
        own[frames[-1]] += int(count)
        files[frames[-1].rpartition("  ")[2]] += int(count)
        for frame in set(frames):
            below[frame] += int(count)

    def shares(counted: Counter[str]) -> list[tuple[str, float]]:
        return [(name, count / samples) for name, count in counted.most_common(top)]

    return Profile(role, cpu_us, samples, shares(own), shares(below), shares(files))


def _frame(frame: str) -> str:
    """`name  package/file.py` of a frame, without line numbers and without where packages are installed."""
    name, _, place = frame.rpartition(" (")
    place = re.sub(r"(:\d+)?\)$", "", place)
    place = re.sub(r"^.*/(site-packages|lib/python3\.\d+)/", "", place)
    return f"{name}  {place}" if name else frame
