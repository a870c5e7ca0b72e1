"""Requests for a task that are held open, in the order in which they came. A poll costs no task, no timer."""

import asyncio
import heapq
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Final, TypeAlias

from services.api.gateway.tasks import Handed

Preference: TypeAlias = tuple[bool, float, float]
"""Who is preferred for a skill, least first: whether the worker has yet to load it, what it costs, and the
negative of its reputation.
"""
INDIFFERENT: Final[Preference] = (True, float("inf"), -1.0)
MOST_COMPARED: Final = 50
"""Of the polls that wait for a skill whose workers differ, so many are looked at."""


class Poll:
    """One held request: `answer` resolves to a task, or to None when there is none in time."""

    __slots__ = ("answer", "deadline", "number", "skills", "taken", "worker")

    def __init__(
        self,
        worker: str,
        skills: frozenset[str],
        deadline: float,
        answer: "asyncio.Future[Handed | None]",
        number: int,
    ) -> None:
        self.worker, self.skills, self.deadline = worker, skills, deadline
        self.answer, self.number = answer, number
        self.taken = False
        """A task is being claimed for it."""

    @property
    def is_open(self) -> bool:
        return not self.answer.done()

    def end(self, handed: Handed | None = None) -> None:
        if not self.answer.done():
            self.answer.set_result(handed)

    def __lt__(self, other: "Poll") -> bool:
        return self.number < other.number


class Room:
    """The polls that wait, by skill and by worker."""

    def __init__(self) -> None:
        self._by_skill: dict[str, dict[int, Poll]] = {}
        self._by_worker: dict[str, dict[int, Poll]] = {}
        self._demand: dict[str, float] = {}
        self._deadlines: list[tuple[float, Poll]] = []
        self._preferences: dict[str, dict[str, Preference]] = {}
        self._number = 0

    def __len__(self) -> int:
        return sum(len(polls) for polls in self._by_worker.values())

    def make(
        self, worker: str, skills: frozenset[str], deadline: float, answer: "asyncio.Future[Handed | None]"
    ) -> Poll:
        """A poll that is not waiting yet."""
        self._number += 1
        return Poll(worker, skills, deadline, answer, self._number)

    def prefer(self, worker: str, skills: Mapping[str, Preference]) -> None:
        """How the worker ranks for its skills, in place of what was known of it."""
        for skill, known in list(self._preferences.items()):
            if known.pop(worker, None) is not None and not known:
                del self._preferences[skill]
        for skill, preference in skills.items():
            if preference != INDIFFERENT:
                self._preferences.setdefault(skill, {})[worker] = preference

    def wait(self, poll: Poll) -> None:
        """The poll waits for a task, at its place by the time it came."""
        returns = poll.taken
        poll.taken = False
        share = 1 / max(1, len(poll.skills))
        for skill in poll.skills:
            waiting = self._by_skill.setdefault(skill, {})
            waiting[poll.number] = poll
            if returns:  # it was here before those that came meanwhile
                self._by_skill[skill] = dict(sorted(waiting.items()))
            self._demand[skill] = self._demand.get(skill, 0.0) + share
        self._by_worker.setdefault(poll.worker, {})[poll.number] = poll
        if not returns:
            heapq.heappush(self._deadlines, (poll.deadline, poll))

    def leave(self, poll: Poll) -> None:
        """The poll waits no more: it is served, or it is gone."""
        waiting = self._by_worker.get(poll.worker)
        if waiting is None or waiting.pop(poll.number, None) is None:
            return
        if not waiting:
            del self._by_worker[poll.worker]
        share = 1 / max(1, len(poll.skills))
        for skill in poll.skills:
            polls = self._by_skill[skill]
            polls.pop(poll.number, None)
            self._demand[skill] -= share
            if not polls:
                del self._by_skill[skill], self._demand[skill]

    def first(self, skill: str) -> Poll | None:
        """The poll of the preferred worker; of several the one that has waited longest for the skill."""
        return self._preferred(skill, self._by_skill.get(skill, {}).values())

    def first_not_of(self, skill: str, but: frozenset[str]) -> Poll | None:
        """The same, leaving some workers out."""
        return self._preferred(
            skill, (p for p in self._by_skill.get(skill, {}).values() if p.worker not in but)
        )

    def of(self, worker: str, skill: str) -> Poll | None:
        """The poll of a worker that has waited longest, if the skill is one that it asks for."""
        for poll in self._by_worker.get(worker, {}).values():
            return poll if skill in poll.skills else None
        return None

    def count(self, worker: str) -> int:
        return len(self._by_worker.get(worker, {}))

    def demand(self, skill: str) -> float:
        """How many tasks of the skill are wanted: a poll for several skills counts in parts."""
        return self._demand.get(skill, 0.0)

    def overdue(self, now: float) -> Iterator[Poll]:
        """The polls whose time is over, each once."""
        while self._deadlines and self._deadlines[0][0] <= now:
            _, poll = heapq.heappop(self._deadlines)
            if poll.is_open:
                yield poll

    def forget_answered(self) -> None:
        """Drop the deadlines of polls that ended before them, when they are the most."""
        if len(self._deadlines) > 64 + 4 * len(self):
            self._deadlines = [entry for entry in self._deadlines if entry[1].is_open]
            heapq.heapify(self._deadlines)

    def _preferred(self, skill: str, waiting: Iterable[Poll]) -> Poll | None:
        known = self._preferences.get(skill)
        if known is None:
            return next(iter(waiting), None)
        some = islice(waiting, MOST_COMPARED)
        return min(some, key=lambda poll: known.get(poll.worker, INDIFFERENT), default=None)

    def everyone(self) -> list[Poll]:
        return [poll for polls in self._by_worker.values() for poll in polls.values()]
