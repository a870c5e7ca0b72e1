"""Keeps programs running: starts them, starts them again when they end, ends them in order."""

import asyncio
import contextlib
import logging
import subprocess
import time
from collections.abc import Sequence

from daybook.supervisor.errors import GaveUp
from daybook.supervisor.programs import Program, ended
from daybook.supervisor.run_folder import RunFolder

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
HEALTHY_SECONDS = 30.0
"""Who served this long starts again after the first pause."""

TRIES = 5
"""Starts of a program that never served, before we give up."""

BAD_SETTINGS = 2
"""The exit status that no further start can change."""

NO_COMMAND = 127
"""The exit status, as shells have it, of what cannot be started at all."""

START_SECONDS = 60.0
STOP_SECONDS = 9.3
"""All stops together; the promise is ten."""

RESERVED_SECONDS = {"scheduler": 0.5, "dispatcher": 1.0, "projector": 0.8, "nats": 1.5}
"""What a stop leaves for each program behind it, so that a slow one does not eat the time of all."""


class Keeper:
    """Runs each program given to `keep` until `stop`."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._serving: dict[str, asyncio.Event] = {}
        self._kept: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self.gave_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Ends with GaveUp, if ever, when a program that never served is started no more."""

    def keep(self, program: Program) -> None:
        """Run the program from now on, and again whenever it ends."""
        self._serving[program.name] = asyncio.Event()
        self._kept.append(asyncio.create_task(self._keep(program)))

    async def serving(self, names: Sequence[str]) -> None:
        """Return when each of these has served; raises GaveUp after a minute."""
        for name in names:
            try:
                await asyncio.wait_for(self._serving.setdefault(name, asyncio.Event()).wait(), START_SECONDS)
            except TimeoutError:
                raise GaveUp(name, f"it did not serve within {START_SECONDS:g} s") from None

    async def stop(self, order: Sequence[str]) -> None:
        """End the programs one after the other, each in order if it can, and start none again."""
        self._stopping.set()
        deadline = time.monotonic() + STOP_SECONDS
        for place, name in enumerate(order):
            process = self._running.get(name)
            if process is None or process.poll() is not None:
                continue
            reserved = sum(RESERVED_SECONDS.get(later, 0.0) for later in order[place + 1 :])
            process.terminate()
            try:
                await asyncio.wait_for(ended(process), max(0.3, deadline - time.monotonic() - reserved))
            except TimeoutError:
                log.error("%s did not stop in time and is killed", name)
                process.kill()
                await ended(process)
        if self._kept:
            await asyncio.wait(self._kept)

    def kill(self) -> None:
        """End at once whatever still runs."""
        self._stopping.set()
        for process in self._running.values():
            if process.poll() is None:
                process.kill()
                process.wait()

    async def _keep(self, program: Program) -> None:
        serving = self._serving[program.name]
        pause, starts = FIRST_PAUSE_SECONDS, 0
        while True:
            starts += 1
            served_seconds, status = await self._run_once(program)
            if self._stopping.is_set():
                return
            if not serving.is_set() and (starts >= TRIES or status == BAD_SETTINGS):
                if not self.gave_up.done():
                    why = f"it ended with {_words(status)}; its own lines above say why"
                    self.gave_up.set_exception(GaveUp(program.name, why))
                return
            if served_seconds >= HEALTHY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            log.warning("%s ended with %s; it starts again in %g s", program.name, _words(status), pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
                return
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _run_once(self, program: Program) -> tuple[float, int]:
        """From start to end: how many seconds it served, and its exit status."""
        try:
            process = program.start()
        except OSError as error:
            log.error("%s cannot be started: %s", program.name, error)
            return 0.0, NO_COMMAND
        self._running[program.name] = process
        self._folder.started(program.name, process.pid)
        became_ready = asyncio.create_task(program.wait_ready(process))
        over = asyncio.create_task(ended(process))
        since = None
        await asyncio.wait({became_ready, over}, return_when=asyncio.FIRST_COMPLETED)
        if became_ready.done() and became_ready.exception() is None:
            since = time.monotonic()
            self._serving[program.name].set()
        else:
            became_ready.cancel()
        status = await over
        served = 0.0 if since is None else time.monotonic() - since
        self._folder.ended(program.name)
        return served, status


def _words(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"
