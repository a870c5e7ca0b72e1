"""One process: its ready file, its signals, its end. Each test runs a small service as a real process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SERVICE = """
import asyncio, sys, time
from shared.process import run

async def main(settings, process):
    {body}

run("tester", main)
"""


class Runner:
    """Starts services in one data folder and ends what is left."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.ready_file = data / "run" / "tester.ready"
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, body: str, pass_fds: tuple[int, ...] = (), **environment: str) -> "subprocess.Popen[str]":
        settings = {"DAYBOOK_DATA": str(self.data), "DAYBOOK_NATS_URL": "nats://127.0.0.1:1"}
        process = subprocess.Popen(
            [sys.executable, "-c", SERVICE.format(body=body)],
            env={**os.environ, **settings, **environment},
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=pass_fds,
        )
        self.processes.append(process)
        return process

    def wait_ready(self) -> None:
        until(self.ready_file.exists)


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    runner = Runner(tmp_path)
    yield runner
    for process in runner.processes:
        process.kill()
        process.communicate()


def until(holds: Callable[[], bool], seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_with_status_0_and_takes_the_ready_file(runner: Runner, number: int) -> None:
    process = runner.start("process.ready(); await process.stopping.wait()")
    runner.wait_ready()
    assert runner.ready_file.read_text() == str(process.pid)
    process.send_signal(number)
    assert process.wait(40) == 0
    assert not runner.ready_file.exists()


def test_without_an_address_of_the_broker_it_does_not_start(runner: Runner) -> None:
    process = runner.start("process.ready()", DAYBOOK_NATS_URL="")
    assert process.wait(40) == 2
    assert process.stderr is not None
    assert process.stderr.read() == (
        "tester: DAYBOOK_NATS_URL is missing: a process of its own needs a broker's address\n"
    )


def test_a_failure_is_logged_and_is_status_1(runner: Runner) -> None:
    process = runner.start("raise RuntimeError('the reason')")
    assert process.wait(40) == 1
    assert process.stderr is not None
    assert "RuntimeError: the reason" in process.stderr.read()


def test_a_file_of_the_settings_that_cannot_be_used_is_one_line_and_status_2(runner: Runner) -> None:
    body = "from shared.settings import UnusableFile; raise UnusableFile('clients.toml: no table')"
    process = runner.start(body)
    assert process.wait(40) == 2
    assert process.stderr is not None
    (line,) = process.stderr.read().splitlines()
    assert line.endswith("clients.toml: no table")


def test_an_end_that_nobody_asked_for_is_status_1(runner: Runner) -> None:
    assert runner.start("process.ready()").wait(40) == 1
    assert not runner.ready_file.exists()


def test_the_ready_file_of_another_process_is_left_alone(runner: Runner) -> None:
    process = runner.start("process.ready(); await process.stopping.wait()")
    runner.wait_ready()
    runner.ready_file.write_text("1")
    process.terminate()
    assert process.wait(40) == 0
    assert runner.ready_file.read_text() == "1"


def test_who_does_not_stop_is_cut_off(runner: Runner) -> None:
    process = runner.start("process.ready(); await asyncio.sleep(3600)", DAYBOOK_STOP_SECONDS="0.2")
    runner.wait_ready()
    process.terminate()
    assert process.wait(40) == 1
    assert process.stderr is not None
    assert "cut off: it did not stop within 0.2 s" in process.stderr.read()


def test_a_stuck_loop_ends_too(runner: Runner) -> None:
    body = "process.ready(); await process.stopping.wait(); time.sleep(3600)"
    process = runner.start(body, DAYBOOK_STOP_SECONDS="0.2")
    runner.wait_ready()
    process.terminate()
    assert process.wait(40) == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("process.ready(); await process.stopping.wait()", 0),
        ("process.ready(); time.sleep(3600)", 1),  # the loop never runs again
    ],
)
def test_the_end_of_the_parent_is_the_end(runner: Runner, body: str, status: int) -> None:
    reading, writing = os.pipe()
    process = runner.start(body, pass_fds=(reading,), DAYBOOK_PARENT_PIPE=str(reading))
    os.close(reading)
    runner.wait_ready()
    assert process.poll() is None
    os.close(writing)
    assert process.wait(40) == status


def test_a_child_of_the_process_gets_neither_the_pipe_nor_its_name(runner: Runner) -> None:
    reading, writing = os.pipe()
    kept = f"os.get_inheritable({reading}) or 'DAYBOOK_PARENT_PIPE' in os.environ"
    process = runner.start(
        f"import os; os._exit(3 if {kept} else 0)", (reading,), DAYBOOK_PARENT_PIPE=str(reading)
    )
    os.close(reading)
    assert process.wait(40) == 0
    os.close(writing)
