"""Saying hello to the dispatcher for a worker, until it answers; then its queues are opened."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import msgspec
import orjson

from services.api.gateway.members import Member
from services.api.gateway.pulls import Supply
from shared.broker import subjects
from shared.broker.errors import BrokerError
from shared.broker.publisher import Publisher
from shared.domain.worker import worker_id

log = logging.getLogger(__name__)

AGAIN_SECONDS: Final = 0.5
ANSWER_SECONDS: Final = 5.0


class HelloRefused(Exception):
    """The dispatcher does not take the worker as it describes itself."""


class _Queue(msgspec.Struct):
    skill: str
    consumer: str
    ack_wait_seconds: float = 15.0


class _Answer(msgspec.Struct):
    ok: bool
    error: str = ""
    queues: list[_Queue] = []


class Greeting:
    """One hello at a time for each worker: a newer one takes the place of one that is not answered yet."""

    def __init__(
        self, publisher: Publisher, supply: Supply, opened: Callable[[frozenset[str], float], None]
    ) -> None:
        """`opened` is told of skills whose queues can be asked from now on, and how long the queues wait for
        a sign of progress.
        """
        self._publisher, self._supply, self._opened = publisher, supply, opened
        self._consumers: dict[str, str] = {}
        self._saying: dict[str, asyncio.Task[None]] = {}

    def consumer(self, skill: str) -> str | None:
        """The queue of a skill; None while no dispatcher has told us."""
        return self._consumers.get(skill)

    def begin(self, member: Member) -> "asyncio.Task[None]":
        """Say hello for the member. The task fails with HelloRefused."""
        saying = self._saying.get(member.name)
        if saying is not None and not saying.done():
            saying.cancel()  # the newest words count
        task = asyncio.get_running_loop().create_task(self._say(member))
        self._saying[member.name] = task
        task.add_done_callback(lambda done: self._said(member, done))
        return task

    def close(self) -> None:
        for saying in self._saying.values():
            saying.cancel()

    def _said(self, member: Member, task: "asyncio.Task[None]") -> None:
        if self._saying.get(member.name) is task:
            del self._saying[member.name]
        if not task.cancelled() and (problem := task.exception()) is not None:
            log.error("worker %s: %s", member.name, problem)

    async def _say(self, member: Member) -> None:
        skills, hello = frozenset(member.profile.skills), orjson.dumps(member.hello())
        subject = subjects.hello(worker_id(member.name))
        while True:
            try:
                message = await self._publisher.request(subject, hello, timeout=ANSWER_SECONDS)
                answer = _DECODER.decode(message.data)
                if not answer.ok:
                    raise HelloRefused(answer.error)
                for queue in answer.queues:
                    self._consumers[queue.skill] = queue.consumer
                    await self._supply.open(queue.consumer)
            except BrokerError as problem:
                log.info("hello of %s is not answered: %s", member.name, problem)
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                member.greeted = True
                if answer.queues:
                    waits = min(queue.ack_wait_seconds for queue in answer.queues)
                    self._opened(skills, waits)
                return


_DECODER: Final = msgspec.json.Decoder(_Answer)
