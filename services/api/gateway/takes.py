"""Held tasks, asked of the dispatcher for workers that are fast: it releases and claims each in one decision.

What it holds it gives in the order in which it would release it, and while somebody asks it releases nothing
of that to the queue. What is in the queue already is pulled one at a time meanwhile.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec
import orjson

from services.api.gateway.ahead import SHORTEST_RUN_SECONDS, Ahead
from services.api.gateway.tasks import Task
from shared.broker.errors import BrokerError
from shared.broker.messages import Message
from shared.broker.subjects import TAKES

log = logging.getLogger(__name__)

NO_MORE: Final = 204
DRY_SECONDS: Final = 0.1
"""How long a skill of which nothing is held is not asked for."""
SILENT_SECONDS: Final = 1.0
"""The same when there is no answer."""


Answers = asyncio.Future[list[Message]]


class Request(Protocol):
    """Sends a question with several answers; the future fails with BrokerError when there is no last one."""

    def __call__(self, subject: str, data: bytes) -> Answers: ...


class _Taken(msgspec.Struct):
    """A task: the members of its release, and the seconds of the lease of its claim."""

    job: UUID
    task: dict[str, Any]
    lease_seconds: float


class Takes:
    """Asks, as long as there is something."""

    def __init__(
        self,
        request: Request,
        ahead: Ahead,
        taken: Callable[[str, Task, float], None],
        look: Callable[[tuple[str, ...]], None],
    ) -> None:
        """`taken` gets the worker, its task and the seconds of the lease; `look` is told of skills of which
        more may be wanted now.
        """
        self._request, self._ahead, self._taken, self._look = request, ahead, taken, look
        self._loop = asyncio.get_running_loop()
        self._flowing: set[str] = set()
        self._dry_until: dict[str, float] = {}

    def fill(self, skill: str, number: float) -> float:
        """Ask for up to so many tasks of a skill; how many are wanted from its queue."""
        if number < 1 or self._loop.time() < self._dry_until.get(skill, 0.0):
            return number
        shares: Counter[str] = Counter()
        while shares.total() < (int(number) if skill in self._flowing else 1):
            worker = self._ahead.emptiest(skill)
            if worker is None:
                break
            self._ahead.begin(worker)
            shares[worker] += 1
        for worker, share in shares.items():
            self._ask(skill, worker, share)
        if skill in self._flowing:
            return 1.0  # what went to the queue before is older
        self._dry_until[skill] = self._loop.time() + DRY_SECONDS  # one is enough to know
        return number - shares.total()

    def _ask(self, skill: str, worker: str, number: int) -> None:
        question = {"skill": skill, "worker": worker, "number": number, "shortest": SHORTEST_RUN_SECONDS}
        asked = self._request(TAKES, orjson.dumps(question))
        asked.add_done_callback(partial(self._answered, skill, worker, number))

    def _answered(self, skill: str, worker: str, number: int, future: Answers) -> None:
        for _ in range(number):
            self._ahead.over(worker)
        if future.cancelled():
            return
        try:
            *messages, end = future.result()
            taken = [_DECODER.decode(message.data) for message in messages]
            tasks = [(Task(one.job, one.task), one.lease_seconds) for one in taken]
        except (BrokerError, msgspec.DecodeError, KeyError, TypeError) as problem:
            log.info("no task of skill %s is taken for %s: %r", skill, worker, problem)
            self._dries(skill, SILENT_SECONDS)
            return
        if end.status != NO_MORE:
            log.error("the dispatcher cannot read what is asked of skill %s: %s", skill, end.status)
            self._dries(skill, SILENT_SECONDS)
        elif len(tasks) < number:
            self._dries(skill, DRY_SECONDS)
        elif skill not in self._flowing:
            self._flowing.add(skill)
            self._dry_until.pop(skill, None)
            self._look((skill,))
        for task, lease_seconds in tasks:
            self._taken(worker, task, lease_seconds)

    def _dries(self, skill: str, seconds: float) -> None:
        """Nothing is held, or nobody answers: it comes by its queue from now on."""
        self._flowing.discard(skill)
        self._dry_until[skill] = self._loop.time() + seconds
        self._look((skill,))


_DECODER: Final = msgspec.json.Decoder(_Taken)
