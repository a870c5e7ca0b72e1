"""Loads that take turns: each is counted in its own, and stands still in the other's."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from time import monotonic_ns, sleep

import pytest

from benchmarks import turns
from benchmarks.errors import SystemFailed
from benchmarks.metering import Meter
from benchmarks.turns import Side, take_turns

BUSY = "import sys\nwith open(sys.argv[1], 'ab', buffering=0) as done:\n while True: done.write(b'.')"
IDLE = "import sys, time\nopen(sys.argv[1], 'wb').close()\ntime.sleep(1000)"


@pytest.fixture(autouse=True)
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.2)


@contextmanager
def side(work: str, file: Path, done: Callable[[], int] | None = None) -> Iterator[Side]:
    """A process that writes a byte for each thing done, and stands still so far."""
    process = subprocess.Popen([sys.executable, "-c", work, str(file)])
    try:
        while not file.exists():
            sleep(0.01)
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        yield Side(process.pid, Meter({process.pid: "worker"}), done or (lambda: file.stat().st_size))
    finally:
        process.kill()
        process.wait()


def test_what_is_counted_is_all_that_was_done_and_never_by_both_at_once(tmp_path: Path) -> None:
    files = [tmp_path / "one", tmp_path / "two"]
    looks: list[list[int]] = []

    def look(number: int) -> int:
        looks.append([file.stat().st_size for file in files])
        return looks[-1][number]

    with side(BUSY, files[0], lambda: look(0)) as one, side(BUSY, files[1], lambda: look(1)) as two:
        take_turns([one, two], 0.8)
    worked = [
        number for before, after in pairwise(looks) for number in (0, 1) if before[number] != after[number]
    ]
    assert len(worked) >= 8
    assert sum(before != after for before, after in pairwise(looks)) == len(worked)
    assert [one.jobs, two.jobs] == [looks[-1][number] - looks[0][number] for number in (0, 1)]
    assert min(one.seconds, two.seconds) >= 0.8
    assert min(one.cpu_us["worker"], two.cpu_us["worker"]) > 0


def test_after_the_turns_all_work_goes_on(tmp_path: Path) -> None:
    with side(BUSY, tmp_path / "done") as one:
        take_turns([one], 0.2)
        before = one.done()
        while one.done() == before:
            sleep(0.01)


def test_a_load_that_does_nothing_is_told(tmp_path: Path) -> None:
    with (
        side(IDLE, tmp_path / "idle") as idle,
        side(BUSY, tmp_path / "busy") as busy,
        pytest.raises(SystemFailed, match="nothing was done"),
    ):
        take_turns([idle, busy], 0.4)


def test_work_that_goes_on_without_its_driver_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0.2)
    with (
        side(IDLE, tmp_path / "file", monotonic_ns) as haunted,
        pytest.raises(SystemFailed, match="work goes on"),
    ):
        take_turns([haunted], 0.2)
