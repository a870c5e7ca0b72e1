"""What processes cost: CPU seconds of each role between two moments, memory at one moment.

Linux only: it reads /proc. CPU is user + system time of the process and all its threads, in ticks of
10 ms, so a run of seconds is exact to a few thousandths.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from benchmarks.errors import ProcessEnded

ROLES = ("api", "dispatcher", "scheduler", "projector", "nats-server", "up", "worker", "load", "other")
"""In the order of the tables. `up` is the supervisor, `other` any child that is none of the others."""

OUTSIDE = frozenset({"load"})
"""Roles that are not part of the system that is measured."""

_TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Sample:
    """CPU seconds used so far: by each process, by this process, and by the whole machine."""

    at: float
    cpu: Mapping[int, float]
    roles: Mapping[int, str]
    own: float
    machine: float


@dataclass(frozen=True, slots=True)
class Usage:
    """What ran between two samples: CPU seconds by role, and the cores that strangers used."""

    seconds: float
    cpu: Mapping[str, float]
    foreign_cores: float

    def per_job_us(self, jobs: int) -> dict[str, float]:
        """CPU microseconds per job, by role."""
        return {role: seconds * 1e6 / jobs for role, seconds in self.cpu.items()}


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes in memory: RSS counts shared pages in every process, PSS divides them among their sharers."""

    rss: int
    pss: int


class Meter:
    """Watches some process trees. `roots` maps the id of each tree's first process to its role."""

    def __init__(self, roots: Mapping[int, str]) -> None:
        self._roots = dict(roots)

    def roles(self) -> dict[int, str]:
        """The role of every process that lives now in the watched trees."""
        children = _children()
        found: dict[int, str] = {}
        for root, role in self._roots.items():
            found[root] = role
            waiting = list(children.get(root, ()))
            while waiting:
                pid = waiting.pop()
                found[pid] = role_of(_command(pid), role)
                waiting.extend(children.get(pid, ()))
        return found

    def sample(self) -> Sample:
        """Raises ProcessEnded when the first process of a tree is gone."""
        roles = self.roles()
        cpu: dict[int, float] = {}
        for pid, role in roles.items():
            seconds = _cpu_seconds(pid)
            if seconds is not None:
                cpu[pid] = seconds
            elif pid in self._roots:
                raise ProcessEnded(role, pid)
        return Sample(monotonic(), cpu, roles, sum(os.times()[:2]), _machine_seconds())

    def over(self, seconds: float) -> Usage:
        """What runs in the next `seconds`; blocks for so long."""
        before = self.sample()
        sleep(seconds)
        return usage(before, self.sample())

    def memory(self) -> dict[str, Memory]:
        """Memory by role, now."""
        total: dict[str, Memory] = {}
        for pid, role in self.roles().items():
            now = _memory(pid)
            if now is not None:
                before = total.get(role, Memory(0, 0))
                total[role] = Memory(before.rss + now.rss, before.pss + now.pss)
        return total


def peak_rss(pid: int) -> int:
    """The most bytes a process ever had resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ProcessEnded("process", pid)


def usage(before: Sample, after: Sample) -> Usage:
    """Raises ProcessEnded when a process of `before` is missing in `after`."""
    cpu: dict[str, float] = {}
    for pid in before.cpu:
        if pid not in after.cpu:
            raise ProcessEnded(before.roles[pid], pid)
    for pid, seconds in after.cpu.items():
        role = after.roles[pid]
        cpu[role] = cpu.get(role, 0.0) + seconds - before.cpu.get(pid, 0.0)
    elapsed = after.at - before.at
    ours = sum(cpu.values()) + after.own - before.own
    return Usage(elapsed, cpu, max(0.0, after.machine - before.machine - ours) / elapsed)


def role_of(command: Iterable[str], parent: str) -> str:
    """The role that a command line shows; a worker's children are workers, other strangers are `other`."""
    words = list(command)
    for word in words:
        if word.startswith("services."):
            return word.removeprefix("services.")
    if words and Path(words[0]).name == "nats-server":
        return "nats-server"
    return parent if parent in ("worker", "load") else "other"


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and (fields := _stat(int(entry))) is not None:
            found.setdefault(int(fields[1]), []).append(int(entry))
    return found


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/<pid>/stat from the third on (the second may hold spaces); None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def _cpu_seconds(pid: int) -> float | None:
    fields = _stat(pid)
    if fields is None or fields[0] == "Z":
        return None
    return (int(fields[11]) + int(fields[12])) * _TICK


def _command(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def _machine_seconds() -> float:
    """CPU seconds of all cores in use since the start: all but idle and waiting for disks."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) * _TICK


def _memory(pid: int) -> Memory | None:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
    return Memory(sizes.get("Rss", 0), sizes.get("Pss", 0))
