"""Placed tasks: each waits for the worker that its strategy chooses, or for another one that fits."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from services.api.gateway.members import Member
from services.api.gateway.polls import Poll, Room
from services.api.gateway.runs import ACK, IN_PROGRESS, NAK, nak
from services.api.gateway.tasks import Task
from shared.application.clock import now_us
from shared.domain.placement import chosen, fits

PATIENCE_SECONDS: Final = 1.0
"""How long a placed task waits for the best worker before another one that fits gets it."""
LATE_SECONDS: Final = 5.0
"""How long after its last moment a placed task is let go; the scheduler ends it in the meantime."""
WPI_SECONDS: Final = 3.0
MOST_HELD: Final = 500


class _Placed:
    """A placed task that waits here: since when, and when to say next that it is still wanted."""

    __slots__ = ("arrived", "task", "wpi_at")

    def __init__(self, task: Task, now: float) -> None:
        self.task, self.arrived, self.wpi_at = task, now, now + WPI_SECONDS


class Placing:
    """Finds the worker of each."""

    def __init__(
        self,
        members: Mapping[str, Member],
        room: Room,
        given: Mapping[str, int],
        soft_limit: int,
        send: Callable[[str, bytes], None],
        claim: Callable[[Poll, Task], None],
    ) -> None:
        """`given` tells of each worker when it got its last task, `send` answers a delivery, `claim` asks for
        a task for a poll.
        """
        self._members, self._room, self._given, self._soft_limit = members, room, given, soft_limit
        self._send, self._claim = send, claim
        self._loop = asyncio.get_running_loop()
        self._placed: list[_Placed] = []

    def take_in(self, task: Task) -> None:
        """A delivery: it goes to its worker, or waits here."""
        if self._place(task, self._loop.time()):
            return
        # It may have been delivered again while it waits here.
        self._placed = [entry for entry in self._placed if entry.task.key != task.key]
        if len(self._placed) >= MOST_HELD:
            self._send(self._placed.pop(0).task.ack, nak(1.0))
        self._placed.append(_Placed(task, self._loop.time()))

    def waiting_for(self, poll: Poll) -> Task | None:
        """The most urgent that waits here for this poll."""
        member = self._members.get(poll.worker)
        if not self._placed or member is None:
            return None
        now, candidate = self._loop.time(), member.candidate()
        for entry in sorted(self._placed, key=lambda entry: (-entry.task.urgency, entry.arrived)):
            task = entry.task
            assert task.needs is not None
            if task.skill not in poll.skills or not fits(candidate, task.skill, task.needs):
                continue
            if not member.suits(task):
                continue
            if now - entry.arrived >= PATIENCE_SECONDS or self._best(task) == poll.worker:
                self._placed.remove(entry)
                return task
        return None

    def drop(self, cancelled: Callable[[Task], bool]) -> None:
        """Nobody needs some of them any more."""
        for entry in [entry for entry in self._placed if cancelled(entry.task)]:
            self._placed.remove(entry)
            self._send(entry.task.ack, ACK)

    def end_all(self) -> None:
        """Give all back."""
        for entry in self._placed:
            self._send(entry.task.ack, NAK)
        self._placed.clear()

    def tick(self, now: float) -> None:
        """Look again for a worker, say that they are still wanted, let go of what came too late."""
        late = now_us() - int(LATE_SECONDS * 1e6)
        for entry in list(self._placed):
            task = entry.task
            if task.dispatch_by is not None and task.dispatch_by < late:
                self._placed.remove(entry)
                self._send(task.ack, ACK)
                continue
            due = now >= entry.wpi_at
            if (due or self._room.first(task.skill)) and self._place(task, now, entry.arrived):
                self._placed.remove(entry)
            elif due:
                entry.wpi_at = now + WPI_SECONDS
                self._send(task.ack, IN_PROGRESS)

    def _best(self, task: Task, *, waiting: bool = False) -> str | None:
        """The worker that its strategy chooses; of those that ask for work now when `waiting`."""
        assert task.needs is not None
        candidates = [
            member.candidate()
            for member in self._members.values()
            if not member.has_left
            and member.is_trusted
            and task.skill in member.profile.skills
            and member.suits(task)
            and (not waiting or self._room.of(member.name, task.skill) is not None)
        ]
        best = chosen(candidates, task.skill, task.needs, self._given, self._soft_limit)
        return None if best is None else best.name

    def _place(self, task: Task, now: float, arrived: float | None = None) -> bool:
        """Give it to its best worker; later to the best of those that wait. False: keep it."""
        name = self._best(task)
        if name is None:
            self._send(task.ack, nak(1.0))  # nobody here: another gateway may have the worker
            return True
        poll = self._room.of(name, task.skill)
        if poll is None and arrived is not None and now - arrived >= PATIENCE_SECONDS:
            name = self._best(task, waiting=True)
            poll = None if name is None else self._room.of(name, task.skill)
        if poll is None:
            return False
        self._claim(poll, task)
        return True
