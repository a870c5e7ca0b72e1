"""Flow control: which held task is released next, and how many. Pure: time comes in as monotonic seconds.

The broker delivers what is released in the order of the journal, so order and fairness are decided before
that. A skill has *room* for its workers' slots plus what it finished in the last quarter of a second
(Little's law: that much keeps fast workers fed over the round trip without making slow ones a queue).
While a skill has room and holds nothing, a release is immediate; otherwise tasks wait here, by urgency, in
turn between tenants inside equal urgency, first in first out inside a tenant. Somebody who asks for a held
task gets it in the same order, past the queue.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple
from uuid import UUID

TaskKey = tuple[UUID, int]
"""A job's id and the number of the task in it."""

LOOKAHEAD_SECONDS = 0.25
TAKERS_SECONDS = 0.3
"""How long what waits is left to those who take it, since one of them asked last."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `limit` tasks of `key` at once, or in any `per_seconds` when that is given."""

    key: str
    limit: int
    per_seconds: float | None = None


class Held(NamedTuple):
    """A task that may be released as far as its job is concerned."""

    key: TaskKey
    skill: str
    urgency: int
    tenant: str
    limits: tuple[Limit, ...] = ()


@dataclass(slots=True)
class _Level:
    """The tasks of one urgency: tenants take turns, each tenant first in first out."""

    turns: deque[str] = field(default_factory=deque)
    queues: dict[str, list[tuple[int, TaskKey]]] = field(default_factory=dict)

    def push(self, tenant: str, order: int, key: TaskKey) -> None:
        queue = self.queues.get(tenant)
        if queue is None:
            queue = self.queues[tenant] = []
            self.turns.append(tenant)
        heappush(queue, (order, key))

    def pop(self, waits: Callable[[int, TaskKey], bool]) -> TaskKey | None:
        """The first task of the tenant whose turn it is; what no longer waits costs nobody a turn."""
        while self.turns:
            tenant = self.turns.popleft()
            queue = self.queues[tenant]
            while queue:
                order, key = heappop(queue)
                if waits(order, key):
                    self.turns.append(tenant)
                    return key
            del self.queues[tenant]
        return None


@dataclass(slots=True)
class _Lane:
    """One skill: what waits for it, what is released, what its workers take."""

    slots: int = 0
    all_take: bool = False
    asked: float = -math.inf
    waiting: dict[TaskKey, tuple[int, Held]] = field(default_factory=dict)
    levels: dict[int, _Level] = field(default_factory=dict)
    urgencies: list[int] = field(default_factory=list)
    in_flight: set[TaskKey] = field(default_factory=set)
    ended: deque[float] = field(default_factory=deque)

    def push(self, order: int, held: Held) -> None:
        self.waiting[held.key] = (order, held)
        level = self.levels.get(held.urgency)
        if level is None:
            level = self.levels[held.urgency] = _Level()
            heappush(self.urgencies, -held.urgency)
        level.push(held.tenant, order, held.key)

    def pop(self) -> tuple[int, Held] | None:
        """The next task that still waits; entries of dropped ones are skipped."""

        def waits(order: int, key: TaskKey) -> bool:
            entry = self.waiting.get(key)
            return entry is not None and entry[0] == order

        while self.urgencies:
            urgency = -self.urgencies[0]
            key = self.levels[urgency].pop(waits)
            if key is not None:
                return self.waiting.pop(key)
            heappop(self.urgencies)
            del self.levels[urgency]
        return None


class Flow:
    """What is held and what is in flight, over all skills and limit keys."""

    def __init__(self, *, recovering: bool = False) -> None:
        """`recovering`: what is released counts for no rate window until `count_from` tells of the past."""
        self._counting = not recovering
        self._blind_since: float | None = None
        self._lanes: dict[str, _Lane] = {}
        self._flying: dict[TaskKey, tuple[str, tuple[Limit, ...], str]] = {}
        self._users: dict[tuple[str, str], set[TaskKey]] = {}
        self._releases: dict[tuple[str, str], deque[float]] = {}
        self._parked: dict[tuple[str, str], list[tuple[int, int, TaskKey]]] = {}
        self._parked_tasks: dict[TaskKey, tuple[int, Held]] = {}
        self._held_for: dict[TaskKey, str] = {}
        self._order = 0

    def set_slots(self, skill: str, slots: int, *, all_take: bool = False) -> None:
        """How many tasks of `skill` its live workers work on at once; 0 when there is none.

        `all_take`: behind each of them is somebody who asks for held tasks when it is fast.
        """
        lane = self._lane(skill)
        lane.slots, lane.all_take = slots, all_take

    def hold(self, held: Held) -> None:
        """A task waits for its release. Holding it twice changes nothing."""
        if held.key in self._held_for or held.key in self._flying:
            return
        self._order += 1
        self._held_for[held.key] = held.skill
        self._lane(held.skill).push(self._order, held)

    def drop(self, key: TaskKey) -> None:
        """A held task is no longer to be released: cancelled, paused or timed out."""
        skill = self._held_for.pop(key, None)
        if skill is None:
            return
        self._parked_tasks.pop(key, None)
        entry = self._lanes[skill].waiting.pop(key, None)
        if entry is not None:
            self._offer(entry[1])

    def released(self, held: Held, now: float) -> None:
        """A task went to the queue of its skill, by whomever."""
        if held.key in self._flying:
            return
        lane = self._lane(held.skill)
        if self._held_for.pop(held.key, None) is not None:
            lane.waiting.pop(held.key, None)
            self._parked_tasks.pop(held.key, None)
        lane.in_flight.add(held.key)
        self._flying[held.key] = (held.skill, held.limits, held.tenant)
        for limit in held.limits:
            name = (held.tenant, limit.key)
            if limit.per_seconds is None:
                self._users.setdefault(name, set()).add(held.key)
            elif self._counting:
                self._window(name, limit).append(now)

    def longest_window(self) -> float:
        """The longest window in seconds of a rate key that a held task waits for; 0 when there is none."""
        held = (entry[1] for lane in self._lanes.values() for entry in lane.waiting.values())
        return max((limit.per_seconds or 0.0 for task in held for limit in task.limits), default=0.0)

    def count_from(self, since: float | None, releases: Iterable[tuple[str, Limit, float]]) -> None:
        """The end of a recovery: what was released of each rate key (tenant, limit, when), oldest first.

        `since` is how far back that goes, None when to the beginning. What was released before is not known
        and counts as everything a key allows, at that moment: a window that began before it is full.
        """
        self._blind_since = since
        self._releases = {}
        for tenant, limit, at in releases:
            self._window((tenant, limit.key), limit).append(at)
        self._counting = True

    def ended(self, key: TaskKey, now: float) -> str | None:
        """A task left the queue or its worker: its place is free. Its skill; None if it was not in flight."""
        flying = self._flying.pop(key, None)
        if flying is None:
            self.drop(key)
            return None
        skill, limits, tenant = flying
        lane = self._lanes[skill]
        lane.in_flight.discard(key)
        lane.ended.append(now)
        for limit in limits:
            name = (tenant, limit.key)
            if limit.per_seconds is None:
                users = self._users[name]
                users.discard(key)
                if not users:
                    del self._users[name]
                self._unpark(name)
        return skill

    def next(self, skill: str, now: float) -> Held | None:
        """The task to release now, counted as in flight from here; None when nothing may go.

        If its release fails, say `ended` and hold it again.
        """
        lane = self._lane(skill)
        while self.room(skill, now) > 0:
            entry = lane.pop()
            if entry is None:
                return None
            order, held = entry
            full = self._full(held, now)
            if full is None:
                self.released(held, now)
                return held
            heappush(self._parked.setdefault(full, []), (-held.urgency, order, held.key))
            self._parked_tasks[held.key] = (order, held)
            self._offer(held, but=full)
        return None

    def take(self, skill: str, now: float) -> Held | None:
        """`next` for somebody who asks for it, and who asks again when it wants more."""
        lane = self._lane(skill)
        if lane.waiting:
            lane.asked = now
        return self.next(skill, now)

    def is_left_to_takers(self, skill: str, now: float) -> bool:
        """Whether what is held of a skill is not to be released to its queue, because it is asked for."""
        lane = self._lanes.get(skill)
        return lane is not None and lane.all_take and now - lane.asked < TAKERS_SECONDS

    def room(self, skill: str, now: float) -> int:
        """How many more tasks of `skill` may be released."""
        lane = self._lanes.get(skill)
        if lane is None or lane.slots == 0:
            return 0
        ended = lane.ended
        while ended and ended[0] < now - LOOKAHEAD_SECONDS:
            ended.popleft()
        return lane.slots + len(ended) - len(lane.in_flight)

    def open_room(self, skill: str, now: float) -> int:
        """The room of a skill that holds nothing back, else 0: what others may release unasked."""
        lane = self._lanes.get(skill)
        if lane is None or lane.waiting:
            return 0
        return max(0, self.room(skill, now))

    def is_fed(self, skill: str, now: float) -> bool:
        """Whether workers have enough for more than half of the lookahead, so that no release is urgent."""
        room = self.room(skill, now)
        return 0 < room < self.in_flight(skill)

    def skills(self) -> list[str]:
        """All skills seen so far."""
        return list(self._lanes)

    def waiting(self, skill: str) -> int:
        """How many tasks of `skill` are held for want of room."""
        lane = self._lanes.get(skill)
        return len(lane.waiting) if lane else 0

    def in_flight(self, skill: str) -> int:
        """How many tasks of `skill` are released and not ended."""
        lane = self._lanes.get(skill)
        return len(lane.in_flight) if lane else 0

    def open_windows(self, now: float) -> set[str]:
        """Let tasks whose rate window has opened wait for room again; the skills that this concerns."""
        skills: set[str] = set()
        for name in [name for name in self._parked if name in self._releases]:
            for _ in range(self._places(name, now)):
                skill = self._unpark(name)
                if skill is None:
                    break
                skills.add(skill)
        return skills

    def _lane(self, skill: str) -> _Lane:
        lane = self._lanes.get(skill)
        if lane is None:
            lane = self._lanes[skill] = _Lane()
        return lane

    def _full(self, held: Held, now: float) -> tuple[str, str] | None:
        """The limit key that has no place for `held`, if there is one."""
        for limit in held.limits:
            name = (held.tenant, limit.key)
            if limit.per_seconds is None:
                if len(self._users.get(name, ())) >= limit.limit:
                    return name
                continue
            releases = self._window(name, limit)
            while releases and releases[0] <= now - limit.per_seconds:
                releases.popleft()
            if len(releases) >= limit.limit:
                return name
        return None

    def _window(self, name: tuple[str, str], limit: Limit) -> deque[float]:
        """When tasks of a rate key were released; what is not known counts as used up."""
        releases = self._releases.get(name)
        if releases is None:
            before = [] if self._blind_since is None else [self._blind_since] * limit.limit
            releases = self._releases[name] = deque(before)
        return releases

    def _places(self, name: tuple[str, str], now: float) -> int:
        """How many tasks that wait for the rate key `name` may go now."""
        first = self._first_parked(name)
        if first is None:
            return 0
        limit = next(limit for limit in first.limits if (first.tenant, limit.key) == name)
        return 0 if self._full(first, now) == name else limit.limit - len(self._releases[name])

    def _first_parked(self, name: tuple[str, str]) -> Held | None:
        parked = self._parked.get(name, [])
        while parked and (entry := self._parked_tasks.get(parked[0][2])) is None:
            heappop(parked)
        return entry[1] if parked and entry is not None else None

    def _unpark(self, name: tuple[str, str]) -> str | None:
        """Move the first that waits for a limit key back among what waits for room; its skill."""
        if self._first_parked(name) is None:
            self._parked.pop(name, None)
            return None
        order, held = self._parked_tasks.pop(heappop(self._parked[name])[2])
        self._lane(held.skill).push(order, held)
        return held.skill

    def _offer(self, held: Held, but: tuple[str, str] | None = None) -> None:
        """`held` does not take the places its limit keys had for it: let the next in line have them."""
        for limit in held.limits:
            name = (held.tenant, limit.key)
            if name != but and self._has_place(name):
                self._unpark(name)

    def _has_place(self, name: tuple[str, str]) -> bool:
        """Whether the first that waits for a concurrency key may have it. Of rate keys, `open_windows` tells.

        Two tasks that both wait for two full keys must not be taken from under them in turn, for ever.
        """
        first = self._first_parked(name)
        if first is None:
            return False
        limit = next(limit for limit in first.limits if (first.tenant, limit.key) == name)
        return limit.per_seconds is None and len(self._users.get(name, ())) < limit.limit
