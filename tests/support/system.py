"""The whole system for tests: `daybook up` as real processes on free ports, and a hand on each of them.

The fixture `daybook_system` gives one that runs. Every process that belongs to it carries a mark in its
environment, so that each can be found by its role, and those that are left over can be found at all.
"""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

ROOT = Path(__file__).resolve().parents[2]
MARK = "DAYBOOK_TEST_SYSTEM"
SERVICES = ("api", "dispatcher", "scheduler", "projector")
ROLES = (*SERVICES, "nats", "supervisor")
CLIENT_TOKEN = "dev-client-token"
WORKER_TOKEN = "dev-worker-token"
READY = re.compile(r"^daybook ready http=(\S+) grpc=(\S+) nats=(\S+)$", re.MULTILINE)


class SystemFailedError(AssertionError):
    """The system did not do in time what it must; the message ends with what it printed last."""


class System:
    """One data folder and the `daybook up` that serves it. Ports stay the same over restarts."""

    def __init__(self, data: Path, environment: Mapping[str, str] | None = None, *flags: str) -> None:
        """`environment` is added to that of all processes; `flags` to the command line."""
        self.data = data
        self.out = data.with_name(data.name + ".out")
        self.http_port, self.grpc_port, self.nats_port = free_ports(3)
        self.command = [sys.executable, "-m", "daybook", "up"]
        self._environment = dict(environment or {})
        self._flags = flags
        self._process: subprocess.Popen[bytes] | None = None
        self._read = 0

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def nats(self) -> str:
        """The broker's address without credentials."""
        return f"nats://127.0.0.1:{self.nats_port}"

    @property
    def nats_password(self) -> str:
        """The password of the user `daybook`, which the broker's folder holds."""
        return next(self.data.rglob("daybook.password")).read_text()

    def client(self, token: str = CLIENT_TOKEN, timeout: float = 40.0) -> httpx.AsyncClient:
        """An HTTP client with the client token. The caller closes it."""
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.AsyncClient(base_url=self.http, headers=headers, timeout=timeout)

    async def start(self, timeout: float = 90.0) -> None:
        """Start `daybook up` and wait until every process serves. Raises SystemFailedError."""
        command = [*self.command, "--data", str(self.data)]
        command += ["--http", f"127.0.0.1:{self.http_port}", "--grpc", f"127.0.0.1:{self.grpc_port}"]
        command += ["--nats-port", str(self.nats_port), *self._flags]
        environment = {**os.environ, **self._environment, MARK: str(self.data)}
        self._read = self.out.stat().st_size if self.out.exists() else 0
        with self.out.open("ab") as out:
            self._process = subprocess.Popen(  # noqa: ASYNC220 (it takes a moment)
                command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        process = self._process
        await self.until(lambda: bool(READY.search(self.printed())) or process.poll() is not None, timeout)
        if process.poll() is not None:
            raise SystemFailedError(f"daybook up ended with {process.returncode}:\n{self.last_words()}")

    async def stop(self, timeout: float = 45.0) -> float:
        """End it by SIGTERM; the seconds that took. SystemFailedError unless it exits with 0 in time."""
        assert self._process is not None
        begun = time.monotonic()
        self._process.terminate()
        process = self._process
        await self.until(lambda: process.poll() is not None, timeout)
        if process.returncode != 0:
            raise SystemFailedError(f"daybook up ended with {process.returncode}:\n{self.last_words()}")
        return time.monotonic() - begun

    def processes(self) -> list[psutil.Process]:
        """Every living process of this system, the supervisor included."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                marked = process.environ().get(MARK) == str(self.data)
                if marked or str(self.data) in process.cmdline():
                    found.append(process)
        return found

    def find(self, role: str) -> int | None:
        """The process id of a role, None while it is down."""
        if role == "supervisor":
            alive = self._process is not None and self._process.poll() is None
            return self._process.pid if alive and self._process is not None else None
        for process in self.processes():
            with suppress(psutil.Error):
                if _has_role(process.cmdline(), role):
                    return int(process.pid)
        return None

    async def living(self, role: str, timeout: float = 60.0) -> int:
        """The process id of a role, waiting for it to be there if it is down. Raises SystemFailedError."""
        await self.until(lambda: self.find(role) is not None, timeout)
        pid = self.find(role)
        assert pid is not None
        return pid

    async def kill(self, role: str, timeout: float = 60.0) -> int:
        """kill -9 the process of a role, waiting for it to be there if it is down; its process id."""
        pid = await self.living(role, timeout)
        os.kill(pid, signal.SIGKILL)
        if role == "supervisor":
            assert self._process is not None
            self._process.wait()
        return pid

    async def until_gone(self, timeout: float = 30.0) -> list[str]:
        """Wait until no process is left; those that are left when time runs out, as "pid command"."""
        with suppress(SystemFailedError):
            await self.until(lambda: not self.processes(), timeout)
        return [described(process) for process in self.processes()]

    async def until_serving(self, timeout: float = 90.0) -> None:
        """Wait until the API says that everything it needs is there."""
        async with self.client(timeout=2.0) as client:

            async def ready() -> bool:
                with suppress(httpx.HTTPError):
                    return (await client.get("/v1/health/ready")).status_code == 200
                return False

            deadline = time.monotonic() + timeout
            while not await ready():
                if time.monotonic() > deadline:
                    raise SystemFailedError(f"not ready after {timeout:g} s:\n{self.last_words()}")
                await asyncio.sleep(0.1)

    async def until(self, holds: Callable[[], bool], timeout: float) -> None:
        """Wait for a condition that no event tells of. Raises SystemFailedError."""
        deadline = time.monotonic() + timeout
        while not holds():
            if time.monotonic() > deadline:
                raise SystemFailedError(f"nothing after {timeout:g} s:\n{self.last_words()}")
            await asyncio.sleep(0.05)

    def destroy(self) -> None:
        """Kill whatever is left: the end of a test that failed."""
        for process in self.processes():
            with suppress(psutil.Error):
                process.kill()
        if self._process is not None:
            self._process.wait()

    def printed(self) -> str:
        """What this start has printed so far."""
        if not self.out.exists():
            return ""
        with self.out.open("rb") as out:
            out.seek(self._read)
            return out.read().decode(errors="replace")

    def last_words(self, lines: int = 40) -> str:
        return "\n".join(self.out.read_text(errors="replace").splitlines()[-lines:])


async def caught_up(client: httpx.AsyncClient, path: str) -> Any:
    """What a GET that names a `min_sequence` answers, as soon as the rows are that far."""
    async with asyncio.timeout(60):
        while (answer := await client.get(path)).status_code == 503:
            await asyncio.sleep(0.05)
    assert answer.status_code == 200, answer.text
    return answer.json()


def described(process: psutil.Process) -> str:
    """A process in a line, also if it ends meanwhile."""
    try:
        return f"{process.pid} {' '.join(process.cmdline())}"
    except psutil.Error:
        return f"{process.pid} (gone)"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different. Somebody may take one before it is used."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


@pytest.fixture
async def daybook_system(tmp_path: Path) -> AsyncIterator[System]:
    """A whole system that serves; stopped, by force if need be, at the end."""
    system = System(tmp_path / "data")
    try:
        await system.start()
        yield system
        if system.find("supervisor") is not None:
            await system.stop()
    finally:
        system.destroy()


def _has_role(command: list[str], role: str) -> bool:
    if role == "nats":
        return bool(command) and Path(command[0]).name == "nats-server"
    return any(pair == ("-m", f"services.{role}") for pair in pairwise(command))
