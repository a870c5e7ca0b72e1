"""The worker: skills in, `run()`, done."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import uvloop

from daybook.environment import secret
from daybook.worker.session import Member, Session
from daybook.worker.skills import Executor, Skill, skill_of
from shared.application.ids import new_id

log = logging.getLogger("daybook.worker")

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT_URL = "nats://127.0.0.1:4222"


class Worker:
    """Runs tasks of its skills.

        worker = Worker()

        @worker.skill("resize")
        def resize(input):
            return {"size": …}

        worker.run()

    `nats_url`, `token` and `name` default to DAYBOOK_NATS_URL, DAYBOOK_WORKER_TOKEN and DAYBOOK_WORKER_NAME,
    and then to a local server, no token, and the host's name with the process id. A name is one worker's at
    a time. `concurrency` is how many tasks run at once, `drain_seconds` how long they may go on after a
    signal to stop.
    """

    def __init__(
        self,
        nats_url: str | None = None,
        token: str | None = None,
        name: str | None = None,
        concurrency: int = 10,
        *,
        labels: Mapping[str, str] | None = None,
        drain_seconds: float = 30.0,
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency must be at least 1, not {concurrency}")
        self.nats_url = nats_url or os.environ.get("DAYBOOK_NATS_URL") or DEFAULT_URL
        self.name = name or os.environ.get("DAYBOOK_WORKER_NAME") or f"{socket.gethostname()}-{os.getpid()}"
        self.concurrency = concurrency
        self.labels = dict(labels or {})
        self.drain_seconds = drain_seconds
        self.skills: dict[str, Skill] = {}
        self.instance = new_id()
        self._token = token if token is not None else secret("DAYBOOK_WORKER_TOKEN")
        self._stopping: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def skill(
        self, name: str, *, executor: Executor | None = None, timeout: float | None = None
    ) -> Callable[[F], F]:
        """Register a function as a skill; the function itself is unchanged.

        A coroutine runs on the event loop, a plain function in a thread, unless `executor` says otherwise.
        A run longer than `timeout` seconds fails with kind timeout. Raises ValueError for a second skill of
        a name.
        """

        def register(function: F) -> F:
            self.add(name, function, executor=executor, timeout=timeout)
            return function

        return register

    def add(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        executor: Executor | None = None,
        timeout: float | None = None,
    ) -> None:
        """What the decorator does, for functions from elsewhere."""
        if name in self.skills:
            raise ValueError(f"skill {name!r} is registered twice")
        self.skills[name] = skill_of(name, function, executor, timeout)

    def run(self) -> None:
        """Work until SIGTERM or SIGINT, then finish what runs and return. A second signal does not wait.

        A program that has not set up logging gets lines of level INFO on standard error.
        """
        if not logging.getLogger().handlers:
            logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s %(message)s")
        uvloop.run(self._run())

    async def serve(self, started: "asyncio.Event | None" = None) -> None:
        """Work on the running event loop until `stop()`. `started` is set when tasks are being asked for.

        Raises ConnectionRefused for a wrong token and HelloRefused when the dispatcher does not want this
        worker.
        """
        if not self.skills:
            raise ValueError("the worker has no skills")
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        member = Member(self.name, str(self.instance), self.skills, self.concurrency, self.labels)
        session = Session(self.nats_url, self._token, member)
        try:
            await session.open(self._stopping)
            if started is not None:
                started.set()
            await session.until(self._stopping)
            await session.drain(self.drain_seconds)
        finally:
            await session.close()
            self._stopping = self._loop = None

    def stop(self) -> None:
        """Begin to drain: take no more tasks, finish those that run. May be called from any thread."""
        if self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        serving = asyncio.ensure_future(self.serve())

        def on_signal() -> None:
            if self._stopping is None or self._stopping.is_set():
                log.warning("stopping now")
                serving.cancel()
            else:
                log.info("finishing what runs; a second signal does not wait")
                self._stopping.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)
        try:
            await serving
        except asyncio.CancelledError:
            if not serving.cancelled():
                raise
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
