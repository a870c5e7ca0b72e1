"""A `daybook up` with stand-ins, as a process of its own, in the hand of a test."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]

LAUNCH = str(Path(__file__).with_name("launch.py"))
ROLES = ("api", "scheduler", "dispatcher", "projector")


class Upper:
    """Started by `start`; everything it started is known by the data folder in its command or environment."""

    def __init__(self, folder: Path, http: str = "127.0.0.1:0", **environment: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.http = http
        self.environment = {**os.environ, **environment, "STANDIN_FOLDER": str(folder)}
        self.log = folder / "up.log"
        self.process: subprocess.Popen[str] | None = None
        self.line = ""

    def launch(self, *arguments: str, pass_fds: tuple[int, ...] = ()) -> "subprocess.Popen[str]":
        """Start it without waiting for anything."""
        self._close()
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, LAUNCH, str(self.data), self.http, *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                pass_fds=pass_fds,
            )
        return self.process

    async def start(self, *arguments: str, pass_fds: tuple[int, ...] = ()) -> None:
        """Start it and wait for its ready line."""
        process = self.launch(*arguments, pass_fds=pass_fds)
        assert process.stdout is not None
        self.line = await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), 60)
        assert self.line, self.words()

    async def ended(self, timeout: float = 45.0) -> int:
        """Its exit status."""
        assert self.process is not None
        return await asyncio.to_thread(self.process.wait, timeout)

    async def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return await self.ended()

    def kill(self) -> None:
        """kill -9 of the supervisor alone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def words(self) -> str:
        """What it printed on standard error."""
        return self.log.read_text()

    def pid(self, role: str) -> int:
        """The process that serves a role, by its ready file (nats: by its pid file)."""
        file = self.data / ("nats/nats.pid" if role == "nats" else f"run/{role}.ready")
        return int(file.read_text())

    def living(self) -> list[psutil.Process]:
        """Every process of this `up` that lives, the supervisor included."""
        found = []
        for process in psutil.process_iter():
            try:
                mine = str(self.data) in " ".join(process.cmdline())
                mine = mine or process.environ().get("STANDIN_FOLDER") == str(self.folder)
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def end_all(self) -> None:
        """Whatever the test left."""
        for process in self.living():
            with suppress(psutil.Error):  # it ended with the one that kept it
                process.send_signal(signal.SIGKILL)
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self._close()

    def _close(self) -> None:
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()


async def until(holds: Callable[[], bool], timeout: float = 40.0) -> None:
    """Wait for a condition of other processes, which send no event."""
    end = time.monotonic() + timeout
    while not _holds(holds):
        assert time.monotonic() < end, f"not within {timeout} s"
        await asyncio.sleep(0.02)


def _holds(holds: Callable[[], bool]) -> bool:
    try:
        return holds()
    except (FileNotFoundError, ValueError):  # a file that is not written yet
        return False
