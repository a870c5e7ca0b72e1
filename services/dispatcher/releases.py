"""Releases: what is held goes to the queue of its skill as soon as flow control has room for it."""

import asyncio
import time
from collections.abc import Callable

from services.dispatcher.desk import Desk
from services.dispatcher.flow import Flow, Held, TaskKey
from services.dispatcher.slots import Command, Done, Outcome, Unavailable
from shared.domain.job import Facts, Job

PAUSE_SECONDS = 0.5
"""Before what the journal could not take is tried again."""
GATHER_SECONDS = 0.02
"""How long releases that nobody waits for are gathered: a tenth of what is released ahead is plenty."""


class Releases:
    """Looks at the skills of which something changed, and releases what has room."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._stale: set[str] = set()
        self._fed: set[str] = set()
        self._left: set[str] = set()
        self._desk: Desk
        self.ready = False
        """Nothing is released before the past is known: limits would be exceeded."""

    def serve(self, desk: Desk) -> None:
        """Whom to give the decisions. Called once, before anything changes."""
        self._desk = desk

    def room(self) -> Callable[[str], bool]:
        """Room as one decision sees it: each question that is answered yes takes a place."""
        taken: dict[str, int] = {}

        def has_room(skill: str) -> bool:
            if not self.ready:
                return False
            used = taken.get(skill, 0)
            if self._flow.open_room(skill, time.monotonic()) <= used:
                return False
            taken[skill] = used + 1
            return True

        return has_room

    def changed(self, skill: str) -> None:
        """Something about a skill's room or its held tasks changed: look once, soon.

        While its workers have enough to do, releases are gathered for a moment: each by itself would wake
        every process of the system.
        """
        now = time.monotonic()
        if self._flow.is_left_to_takers(skill, now):
            self._left.add(skill)
            return
        loop = asyncio.get_running_loop()
        if self._flow.is_fed(skill, now):
            if not self._fed:
                loop.call_later(GATHER_SECONDS, self._look_again)
            self._fed.add(skill)
            return
        if not self._stale:
            loop.call_soon(self._pump)
        self._stale.add(skill)

    def tick(self) -> None:
        """Look again at what time alone opens: windows of rate keys, and what nobody asks for any more."""
        left, self._left = self._left, set()
        for skill in self._flow.open_windows(time.monotonic()) | left:
            self.changed(skill)

    def ended(self, key: TaskKey) -> None:
        """A task left the queue or its worker: its place is free."""
        skill = self._flow.ended(key, time.monotonic())
        if skill is not None:
            self.changed(skill)

    def not_released(self, held: Held, outcome: Outcome) -> None:
        """Cancelled, paused or ended meanwhile, or the journal is away: the place is free again."""
        self.ended(held.key)
        if isinstance(outcome, Unavailable):
            asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._hold_again, held)

    def _look_again(self) -> None:
        self._stale |= self._fed
        self._fed.clear()
        self._pump()

    def _pump(self) -> None:
        stale, self._stale = self._stale, set()
        if not self.ready:
            return
        for skill in stale:
            while (held := self._flow.next(skill, time.monotonic())) is not None:
                self._release(held)

    def _release(self, held: Held) -> None:
        id_, number = held.key

        def act(job: Job, facts: Facts) -> bool:
            if number in job.live_tasks:
                job.release(number, facts)
            return job.tasks[number].status == "released"

        def done(outcome: Outcome) -> None:
            if not (isinstance(outcome, Done) and outcome.answer):
                self.not_released(held, outcome)

        self._desk.post(id_, Command(act, done))

    def _hold_again(self, held: Held) -> None:
        self._flow.hold(held)
        self.changed(held.skill)
