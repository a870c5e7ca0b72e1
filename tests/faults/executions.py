"""What the workers wrote down: each run of each task, one line when it starts and one when it ends.

A line is written by a single write to a file opened for appending, so that a kill leaves whole lines behind.
"""

import json
import os
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of a task by a worker, in microseconds since the epoch; a killed run has no `ended_us`."""

    job: UUID
    task: int
    attempt: int
    worker: str
    pid: int
    skill: str
    started_us: int
    ended_us: int | None = None

    @property
    def of(self) -> tuple[UUID, int, int]:
        return self.job, self.task, self.attempt


class ExecutionLog:
    """The worker's side: append-only, written through at once."""

    def __init__(self, path: Path, worker: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._worker = worker
        self._pid = os.getpid()
        self._count = 0

    def started(self, job: str, task: int, attempt: int, skill: str) -> int:
        """Note a start; answers the number by which its end is noted."""
        self._count += 1
        fields = {"job": job, "task": task, "attempt": attempt, "skill": skill, "worker": self._worker}
        self._write({"what": "start", "run": self._count, **fields})
        return self._count

    def ended(self, run: int) -> None:
        self._write({"what": "end", "run": run})

    def _write(self, line: dict[str, object]) -> None:
        text = json.dumps({**line, "pid": self._pid, "at": time.time_ns() // 1000}) + "\n"
        os.write(self._file, text.encode())


def read_executions(path: Path) -> list[Execution]:
    """All runs in the log in the order of their starts; empty when no worker has written yet."""
    if not path.exists():
        return []
    starts: dict[tuple[int, int], dict[str, object]] = {}
    ends: dict[tuple[int, int], int] = {}
    written = path.read_text()
    for text in written[: written.rfind("\n") + 1].splitlines():  # the last line may be on its way
        line = json.loads(text)
        which = (line["pid"], line["run"])
        if line["what"] == "start":
            starts[which] = line
        else:
            ends[which] = line["at"]
    return [
        Execution(
            job=UUID(str(line["job"])),
            task=int(str(line["task"])),
            attempt=int(str(line["attempt"])),
            worker=str(line["worker"]),
            pid=which[0],
            skill=str(line["skill"]),
            started_us=int(str(line["at"])),
            ended_us=ends.get(which),
        )
        for which, line in starts.items()
    ]


def most_at_once(executions: list[Execution], until_us: dict[int, int] | None = None) -> int:
    """The largest number of runs that overlapped.

    A run without an end lasted until its process died: `until_us` tells when, by pid; a pid that it does not
    know is taken to have died at once, which can only make the answer smaller.
    """
    moments: list[tuple[int, int]] = []
    for run in executions:
        end = run.ended_us or (until_us or {}).get(run.pid, run.started_us)
        moments += [(run.started_us, 1), (max(end, run.started_us), -1)]
    most = now = 0
    for _, change in sorted(moments):
        now += change
        most = max(most, now)
    return most


def by_attempt(executions: list[Execution]) -> dict[tuple[UUID, int, int], list[Execution]]:
    """The runs of each attempt of each task."""
    grouped: dict[tuple[UUID, int, int], list[Execution]] = defaultdict(list)
    for run in executions:
        grouped[run.of].append(run)
    return dict(grouped)
