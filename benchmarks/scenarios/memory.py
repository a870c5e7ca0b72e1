"""What the processes hold in memory at rest, after many jobs."""

from time import monotonic

from benchmarks.driver import LoadGenerator
from benchmarks.metering import ROLES
from benchmarks.results import Finding
from benchmarks.scenarios.throughput import bulk_command
from benchmarks.system import System

NAME = "memory"
JOBS = 50_000
TIME_LIMIT_SECONDS = 900.0
REST_CORES = 0.3
REST_WINDOW_SECONDS = 2.0
REST_LIMIT_SECONDS = 60.0


def measure(system: System, load: LoadGenerator, jobs: int = JOBS) -> list[Finding]:
    """RSS and PSS by role and in sum, in MB of 10^6 bytes, once the processes are at rest."""
    load.run(bulk_command(system, seconds=TIME_LIMIT_SECONDS, jobs=jobs))
    cores = _rest(system)
    memory = system.meter().memory()
    found = []
    for role in sorted(memory, key=ROLES.index):
        found.append(_finding(system, f"{role} RSS", memory[role].rss))
        found.append(_finding(system, f"{role} PSS", memory[role].pss))
    found.append(_finding(system, "sum RSS", sum(one.rss for one in memory.values())))
    found.append(_finding(system, "sum PSS", sum(one.pss for one in memory.values())))
    found.append(Finding(NAME, system.durability, "cores at rest", cores, "cores"))
    return found


def _finding(system: System, name: str, size: int) -> Finding:
    return Finding(NAME, system.durability, name, size / 1e6, "MB")


def _rest(system: System) -> float:
    """Wait until all processes together use little CPU; answer the cores they used in the last window.

    Gives up waiting after a minute: the answer then shows that they are not at rest.
    """
    meter = system.meter()
    stop = monotonic() + REST_LIMIT_SECONDS
    while True:
        used = meter.over(REST_WINDOW_SECONDS)
        cores = sum(used.cpu.values()) / used.seconds
        if cores < REST_CORES or monotonic() > stop:
            return cores
