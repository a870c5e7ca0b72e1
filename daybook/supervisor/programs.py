"""What the supervisor keeps running: nats-server, and the services as processes of their own."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from shared.broker.embedded import EmbeddedServer
from shared.process import PARENT_PIPE, ready_file

READY_POLL_SECONDS = 0.02


class Program(Protocol):
    """One thing to keep running."""

    name: str

    def start(self) -> "subprocess.Popen[bytes]":
        """Start it anew."""
        ...

    async def wait_ready(self, process: "subprocess.Popen[bytes]") -> None:
        """Return when this process serves. It need not return when it ended before."""
        ...


class Service:
    """A Python process that says by its ready file that it serves, and ends when our pipe does.

    It runs in a session of its own: Ctrl-C reaches the supervisor alone, which then ends all in order.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], data: Path, pipe: int
    ) -> None:
        """`pipe` is the reading end of a pipe whose writing end only the supervisor has."""
        self.name = name
        self._command = [sys.executable, *command]
        # PYTHONSAFEPATH: a folder `services` where the user happens to stand is not ours.
        self._environment = {**environment, PARENT_PIPE: str(pipe), "PYTHONSAFEPATH": "1"}
        self._ready = ready_file(data, name)
        self._pipe = pipe

    def start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(  # noqa: S603 (our own modules)
            self._command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),  # standard output is for the ready line alone
            pass_fds=[self._pipe],
            start_new_session=True,
        )

    async def wait_ready(self, process: "subprocess.Popen[bytes]") -> None:
        # A file has no event that every platform knows; this polls while the process starts only.
        while not self._serves(process.pid):  # noqa: ASYNC110
            await asyncio.sleep(READY_POLL_SECONDS)

    def _serves(self, pid: int) -> bool:
        try:
            return self._ready.read_text() == str(pid)
        except FileNotFoundError:
            return False


class Broker:
    """The embedded nats-server; each start has the same port and the same data."""

    name = "nats"

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server

    def start(self) -> "subprocess.Popen[bytes]":
        self._server.start()
        assert self._server.process is not None
        return self._server.process

    async def wait_ready(self, process: "subprocess.Popen[bytes]") -> None:
        await self._server.wait_ready()


async def ended(process: "subprocess.Popen[bytes]") -> int:
    """Wait for the end of a child; its exit status, negative for a signal."""
    if not hasattr(os, "pidfd_open"):
        while process.poll() is None:  # noqa: ASYNC110 (this platform has no event for it)
            await asyncio.sleep(0.05)
        return process.wait()
    if process.poll() is None:
        descriptor = os.pidfd_open(process.pid)
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()
        loop.add_reader(descriptor, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
    return process.wait()
