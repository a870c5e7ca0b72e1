"""One serving of a worker: hello, the queues, the runs, the beats, good-bye."""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from daybook.errors import HelloRefused
from daybook.worker.intake import Intake, Queue
from daybook.worker.link import Link
from daybook.worker.runner import Runner
from daybook.worker.skills import Skill
from shared.broker import subjects
from shared.broker.messages import Message
from shared.domain.worker import worker_id

log = logging.getLogger("daybook.worker")

TICK_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Member:
    """Who says hello. `instance` tells two processes of one name apart."""

    name: str
    instance: str
    skills: Mapping[str, Skill]
    concurrency: int
    labels: Mapping[str, str]


class Session:
    """One serving: the connection, the queues, the runs."""

    def __init__(self, url: str, token: str, member: Member) -> None:
        self._member = member
        self._id = worker_id(member.name)
        self._link = Link(url, token, member.name, self._on_back)
        self._runner = Runner(self._link, member.name, member.skills, member.concurrency)
        self._intake = Intake(self._link, lambda: self._runner.room, self._runner.start, self._on_lost_queue)
        self._runner.on_room = self._intake.ask
        self._hello_wanted = asyncio.Event()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._beat_seconds = 5.0
        self._known = False
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, stopping: asyncio.Event) -> None:
        """Connect and say hello; waits for broker and dispatcher as long as it takes, or until `stopping`."""
        opening = asyncio.ensure_future(self._open())
        stopped = asyncio.ensure_future(stopping.wait())
        try:
            await asyncio.wait([opening, stopped], return_when=asyncio.FIRST_COMPLETED)
            if opening.done():
                opening.result()
        finally:
            for waiting in (opening, stopped):
                waiting.cancel()
            await asyncio.gather(opening, stopped, return_exceptions=True)

    async def until(self, stopping: asyncio.Event) -> None:
        """Return when `stopping` is set; raise what made the worker fail before."""
        stopped: asyncio.Future[Any] = asyncio.ensure_future(stopping.wait())
        try:
            await asyncio.wait([stopped, self._failed], return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                self._failed.result()
        finally:
            stopped.cancel()

    async def drain(self, seconds: float) -> None:
        """Take no more tasks, let those that run come to an end within `seconds`, say good-bye."""
        if self._known:
            self._beat(draining=True)
            await self._intake.stop()
            await self._runner.drain(seconds)
            self._beat(leaving=True)
            log.info("worker %s has stopped", self._member.name)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._runner.close()
        await self._link.close()
        if self._failed.done():
            self._failed.exception()

    async def _open(self) -> None:
        await self._link.open()
        self._watch(self._link.keep())
        await self._link.listen(subjects.control(self._id), self._on_control)
        await self._intake.open()
        await self._say_hello()
        self._known = True
        log.info("worker %s works on %s", self._member.name, ", ".join(sorted(self._member.skills)))
        for loop in (self._beats(), self._hellos(), self._ticks()):
            self._watch(loop)

    def _watch(self, loop: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.ensure_future(self._watched(loop)))

    async def _watched(self, work: Coroutine[Any, Any, None]) -> None:
        """A loop that fails must not fail silently: the worker ends with its error."""
        try:
            await work
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 (carried to serve())
            if not self._failed.done():
                self._failed.set_exception(error)

    async def _say_hello(self) -> None:
        member = self._member
        hello = {
            "name": member.name,
            "skills": sorted(member.skills),
            "concurrency": member.concurrency,
            "instance": str(member.instance),
            "labels": member.labels,
        }
        answer = await self._link.call(subjects.hello(self._id), orjson.dumps(hello))
        if not answer.get("ok"):
            raise HelloRefused(member.name, str(answer.get("error") or answer))
        self._beat_seconds = float(answer.get("beat_seconds") or 5.0)
        queues = []
        for entry in answer.get("queues") or []:
            queues.append(
                Queue(entry["skill"], entry["consumer"], float(entry.get("ack_wait_seconds") or 15.0))
            )
            if entry.get("control"):
                await self._link.listen(entry["control"], self._on_control)
        missing = set(member.skills) - {queue.skill for queue in queues}
        if missing:
            log.error("the dispatcher gave no queue for %s", ", ".join(sorted(missing)))
        self._intake.set_queues(queues)

    async def _hellos(self) -> None:
        while True:
            await self._hello_wanted.wait()
            self._hello_wanted.clear()
            try:
                await self._say_hello()
            except HelloRefused as error:
                log.error("%s; asking again in 5 s", error)
                self._hello_wanted.set()
                await asyncio.sleep(5.0)
            await asyncio.sleep(0.2)  # several reasons at a time are one hello

    async def _beats(self) -> None:
        while True:
            self._beat()
            await asyncio.sleep(self._beat_seconds)

    async def _ticks(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._runner.tick()
            self._intake.tick()

    def _beat(self, **more: bool) -> None:
        if not self._link.is_up:
            return
        member = self._member
        beat = {
            "name": member.name,
            "skills": sorted(member.skills),
            "concurrency": member.concurrency,
            "running": self._runner.running,
            "instance": str(member.instance),
            **more,
        }
        self._link.send(subjects.beat(self._id), orjson.dumps(beat))

    def _on_back(self) -> None:
        self._intake.reconnected()
        self._hello_wanted.set()

    def _on_lost_queue(self, skill: str) -> None:
        log.warning("the queue of skill %s is not there; saying hello", skill)
        self._hello_wanted.set()

    def _on_control(self, message: Message) -> None:
        try:
            said = orjson.loads(message.data)
            if said.get("hello"):
                self._hello_wanted.set()
            cancelled = said.get("cancel")
            if cancelled is not None:
                self._runner.cancel(cancelled["job"], cancelled["task"], cancelled["attempt"])
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
            log.error("a control message cannot be read: %r", error)
