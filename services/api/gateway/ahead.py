"""Tasks claimed for a worker before it asks, so that the polls of a fast one are answered from memory.

A poll that finds nothing here waits for a claim to be stored, and a worker that polls one task at a time
waits so for each of its tasks. For one that comes back at once there lie as many claimed tasks ready as it
took lately in a tenth of a second, never more than it has room for. What it does not fetch soon is given
back, at no cost to the task.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final

import msgspec

from services.api.gateway.members import Member
from services.api.gateway.polls import Poll
from services.api.gateway.reports import AGAIN_SECONDS, Reports, answer_of
from services.api.gateway.runs import ACK, Runs, nak
from services.api.gateway.tasks import Handed, Run, Task
from shared.broker.errors import BrokerError
from shared.broker.messages import Message

log = logging.getLogger(__name__)

PACE_SECONDS: Final = 0.2
"""How far back it counts what a worker took."""
FEWEST: Final = 4
"""Who took fewer in that time is not fast: claiming ahead would keep tasks from others."""
SHARE: Final = 0.5
AT_ONCE: Final = 3
"""Claims that are made together. One by one, each wakes every process; of many, the last hold up results."""
MOST: Final = 64
KEPT_SECONDS: Final = 1.0
"""How long a claimed task waits for its worker: the pause of one that is full is half of that."""
SHORTEST_RUN_SECONDS: Final = 10.0
"""A task that may run for less than this is not claimed ahead: the time would run while it lies here."""
PATIENCE_SECONDS: Final = 10.0
LONGEST_QUEUE_SECONDS: Final = 0.1
"""A worker whose result came so long after the work was done takes tasks faster than it reports them."""


class _Shelf:
    """What lies ready for one worker. `skills` are what it asked for last, `coming` claims under way."""

    __slots__ = ("coming", "filling", "handed", "is_behind", "ready", "skills")

    def __init__(self) -> None:
        self.skills: frozenset[str] = frozenset()
        self.handed: deque[float] = deque()
        self.ready: deque[tuple[float, Handed]] = deque()
        self.coming = 0
        self.filling = True
        """It is filled up when a few are missing, so that claims come several at a time."""
        self.is_behind = False


class Ahead:
    """The shelves, by the worker's name."""

    def __init__(
        self,
        members: Mapping[str, Member],
        runs: Runs,
        reports: Reports,
        send: Callable[[str, bytes], None],
    ) -> None:
        """`send` answers a delivery."""
        self._members, self._runs, self._reports, self._send = members, runs, reports, send
        self._loop = asyncio.get_running_loop()
        self._shelves: dict[str, _Shelf] = {}
        self._open = 0  # claims ahead and returns without an answer yet
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    def next(self, poll: Poll) -> Handed | None:
        """What lies ready for the poll. What is not wanted any more is dropped on the way."""
        shelf = self._shelves.get(poll.worker)
        if shelf is None:
            shelf = self._shelves[poll.worker] = _Shelf()
        shelf.skills = poll.skills
        ready = shelf.ready
        while ready:
            handed = ready.popleft()[1]
            run = self._runs.get(handed.task.key)
            if run is None or run.cancelled:
                continue
            if handed.task.skill not in poll.skills:
                self._give_back(handed)
                continue
            return handed
        return None

    def took(self, worker: str) -> None:
        """The worker was given a task."""
        shelf = self._shelves.get(worker)
        if shelf is not None:
            shelf.handed.append(self._loop.time())

    def reported(self, worker: str, queued_seconds: float) -> None:
        """A result of the worker came, which it had so long before it could say it.

        The SDK posts one result at a time, and its polls do not wait for that: unchecked, results would pile
        up with it until their leases end.
        """
        shelf = self._shelves.get(worker)
        if shelf is not None:
            shelf.is_behind = queued_seconds > LONGEST_QUEUE_SECONDS

    def is_behind(self, worker: str) -> bool:
        """Whether the worker should report one of its tasks for each that it gets."""
        shelf = self._shelves.get(worker)
        return shelf is not None and shelf.is_behind

    def catch_up(self, worker: str) -> None:
        """It was waited for long enough."""
        shelf = self._shelves.get(worker)
        if shelf is not None:
            shelf.is_behind = False

    def keep(self, worker: str, handed: Handed) -> None:
        """The worker was granted a task that it can fetch with its next poll."""
        member = self._members.get(worker)
        if self._closed or (member is not None and member.has_left):
            self._give_back(handed)
        else:
            self._shelves.setdefault(worker, _Shelf()).ready.append((self._loop.time(), handed))

    def begin(self, worker: str) -> None:
        """A claim ahead is under way; `over` says that it is not any more."""
        self._shelves[worker].coming += 1
        self._room(worker, self._loop.time())  # it may be full now
        self._begun()

    def over(self, worker: str) -> None:
        shelf = self._shelves.get(worker)
        if shelf is not None:
            shelf.coming = max(0, shelf.coming - 1)
        self._ended()

    def worker_for(self, task: Task) -> str | None:
        """Whom the task should be claimed for ahead, if anybody."""
        if task.deliveries > 1 or (task.run_timeout is not None and task.run_timeout < SHORTEST_RUN_SECONDS):
            return None
        return self.emptiest(task.skill)

    def emptiest(self, skill: str) -> str | None:
        """The worker for whom most more tasks of the skill may lie ready, if there is one."""
        now = self._loop.time()
        rooms = {
            name: self._room(name, now) for name, shelf in self._shelves.items() if skill in shelf.skills
        }
        most = max(rooms, key=rooms.__getitem__, default=None)
        return most if most is not None and rooms[most] > 0 else None

    def wants(self, skill: str) -> float:
        """How many tasks of the skill are wanted beside those that polls wait for."""
        now = self._loop.time()
        return sum(
            max(0, self._room(name, now)) / len(shelf.skills)
            for name, shelf in self._shelves.items()
            if skill in shelf.skills
        )

    def waiting(self, worker: str) -> int:
        """How many tasks lie ready for a worker."""
        shelf = self._shelves.get(worker)
        return 0 if shelf is None else len(shelf.ready)

    def tick(self, now: float) -> Iterator[str]:
        """Give back what was not fetched in time; the skills of which less is wanted now."""
        for name, shelf in list(self._shelves.items()):
            while shelf.ready and shelf.ready[0][0] + KEPT_SECONDS <= now:
                self._give_back(shelf.ready.popleft()[1])
            if shelf.handed:
                yield from shelf.skills
                self._room(name, now)
            if not (shelf.handed or shelf.ready or shelf.coming):
                del self._shelves[name]

    def give_up(self, worker: str) -> None:
        """The worker takes no more: another one may have what lies ready for it."""
        shelf = self._shelves.pop(worker, None)
        while shelf is not None and shelf.ready:
            self._give_back(shelf.ready.popleft()[1])

    def give_up_all(self) -> None:
        """Nothing is kept from now on."""
        self._closed = True
        for worker in list(self._shelves):
            self.give_up(worker)

    async def given_back(self, seconds: float) -> None:
        """Wait until the dispatcher knows of all that was given back, at most so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            log.warning("%d tasks could not be given back; their leases end", self._open)

    # -- private

    def _room(self, worker: str, now: float) -> int:
        """How many more may be claimed ahead for the worker now."""
        shelf, member = self._shelves[worker], self._members.get(worker)
        handed = shelf.handed
        while handed and handed[0] < now - PACE_SECONDS:
            handed.popleft()
        if self._closed or member is None or member.has_left or len(handed) < FEWEST:
            return 0
        most = min(MOST, round(SHARE * len(handed)))
        if not shelf.is_behind:  # else it is through with what it has in hand
            in_hand = len(member.runs) - len(shelf.ready)
            most = min(most, member.concurrency - in_hand)
        lacking = most - len(shelf.ready) - shelf.coming
        if lacking <= 0:
            shelf.filling = False
        elif 2 * lacking >= min(2 * AT_ONCE, most):
            shelf.filling = True
        return lacking if shelf.filling else 0

    def _give_back(self, handed: Handed) -> None:
        run = self._runs.get(handed.task.key)
        if run is None or run.cancelled:
            return
        run.reporting += 1  # nobody renews it any more
        self._begun()
        self._say(run, self._loop.time() + PATIENCE_SECONDS)

    def _say(self, run: Run, until: float) -> None:
        asked = self._reports.ask(run.key, run.worker, "return")
        asked.add_done_callback(partial(self._said, run, until))

    def _said(self, run: Run, until: float, future: "asyncio.Future[Message]") -> None:
        key, word = run.key, ACK  # what is given back is released anew; else it is over
        try:
            answer = answer_of(future.result())
        except asyncio.CancelledError:
            return
        except (BrokerError, msgspec.DecodeError) as problem:
            if self._loop.time() < until:
                self._loop.call_later(AGAIN_SECONDS, self._say, run, until)
                return
            log.warning("task %d of job %s could not be given back: %s", key.task, key.job, problem)
            word = nak(1.0)
        else:
            if answer.verdict not in ("accepted", "ignored") or answer.reason == "unknown_job":
                said = answer.error or answer.reason
                log.error("the return of job %s could not be decided: %s", key.job, said)
                word = nak(1.0)
        if run.ack:
            self._send(run.ack, word)
        self._runs.put_down(run)
        self._ended()

    def _begun(self) -> None:
        self._open += 1
        self._idle.clear()

    def _ended(self) -> None:
        self._open -= 1
        if not self._open:
            self._idle.set()
