"""The crew: which workers are there, what they can do, and the queues they pull from."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from services.dispatcher.flow import Flow

log = logging.getLogger("daybook.dispatcher.crew")

MISSED_BEATS = 3
"""A worker that was silent for so many beats is lost."""


class Hello(msgspec.Struct):
    """What a worker says of itself when it comes, and in every beat.

    `takes`: somebody asks for held tasks on its behalf when it is fast.
    """

    name: str
    skills: list[str] = []
    concurrency: int = 1
    instance: str = ""
    labels: dict[str, str] = {}
    running: int = 0
    draining: bool = False
    leaving: bool = False
    takes: bool = False


@dataclass(slots=True)
class Member:
    """A live worker. `heard` is the monotonic time of its last sign of life."""

    hello: Hello
    heard: float
    running: int = 0
    recorded: str = ""
    skills: frozenset[str] = field(default_factory=frozenset)


Change = Literal["registered", "draining", "left", "lost"]

Record = Callable[[Change, Hello], Awaitable[None]]
"""Store a change of a worker."""

OpenQueue = Callable[[str], Awaitable[None]]
"""Make sure that the queue of a skill exists."""


class Crew:
    """Workers by name; the slots they give each skill go to flow control."""

    def __init__(
        self,
        flow: Flow,
        record: Record,
        open_queue: OpenQueue,
        changed: Callable[[str], None],
        beat_seconds: float,
    ) -> None:
        self._flow = flow
        self._record = record
        self._open_queue = open_queue
        self._changed = changed
        self._silence = MISSED_BEATS * beat_seconds
        self._members: dict[str, Member] = {}
        self._recording = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._members)

    async def welcome(self, hello: Hello, now: float) -> None:
        """A worker came, or came back: open its queues, remember it, count its slots.

        Raises what opening a queue or recording raises; the worker says hello again then.
        """
        for skill in hello.skills:
            await self._open_queue(skill)
        member = Member(hello, now, skills=frozenset(hello.skills))
        before = self._members.get(hello.name)
        self._members[hello.name] = member
        self._count(member.skills | (before.skills if before else frozenset()))
        async with self._recording:
            await self._record("registered", hello)

    async def heard(self, beat: Hello, now: float) -> None:
        """A sign of life: a known worker is alive, an unknown one is welcomed, one that leaves is let go."""
        member = self._members.get(beat.name)
        if beat.leaving:
            if member is not None:
                await self._dismiss(member, "left")
            return
        if member is None or member.hello.instance != beat.instance:
            await self.welcome(beat, now)
            return
        member.heard, member.running = now, beat.running
        if beat.draining and not member.hello.draining:
            member.hello = beat
            self._count(member.skills)
            async with self._recording:
                await self._record("draining", beat)

    async def sweep(self, now: float) -> None:
        """Let go of those that fell silent."""
        for member in [member for member in self._members.values() if now - member.heard > self._silence]:
            log.warning("worker %s fell silent", member.hello.name)
            await self._dismiss(member, "lost")

    def names(self) -> list[str]:
        """The workers that are here."""
        return list(self._members)

    async def _dismiss(self, member: Member, how: Change) -> None:
        self._members.pop(member.hello.name, None)
        self._count(member.skills)
        async with self._recording:
            await self._record(how, member.hello)

    def _count(self, skills: frozenset[str]) -> None:
        for skill in skills:
            able = [
                member.hello
                for member in self._members.values()
                if skill in member.skills and not member.hello.draining
            ]
            slots = sum(hello.concurrency for hello in able)
            self._flow.set_slots(skill, slots, all_take=all(hello.takes for hello in able))
            self._changed(skill)
