"""The gateway's inside without a broker: what it asks is kept, and the test answers."""

import asyncio
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from services.api.gateway.handing import Hands
from services.api.gateway.members import Member, Profile
from services.api.gateway.polls import Poll, Room
from services.api.gateway.reports import Reports
from services.api.gateway.runs import Runs
from services.api.gateway.tasks import Handed, Key, Run
from shared.broker.errors import BrokerError
from shared.broker.messages import Message
from shared.broker.subjects import TAKES
from shared.domain.placement import Candidate

JOB = UUID("01934b3e-8b5e-7a1c-8d3b-0d6f1f3a9c11")


@dataclass
class Asked:
    """One question to the dispatcher, which the test answers."""

    key: Key
    worker: str
    kind: str
    more: dict[str, Any]
    future: "asyncio.Future[Message]"

    def answer(self, **members: Any) -> None:
        self.future.set_result(Message("", "", orjson.dumps(members)))

    def grant(self, lease: float = 60.0) -> None:
        self.answer(verdict="granted", lease_seconds=lease)

    def fail(self, error: BrokerError) -> None:
        self.future.set_exception(error)


class FakeReports(Reports):
    """Keeps the questions."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    def ask(self, key: Key, worker: str, kind: str, **more: Any) -> "asyncio.Future[Message]":
        asked = Asked(key, worker, kind, more, asyncio.get_running_loop().create_future())
        self.asked.append(asked)
        return asked.future


@dataclass
class AskedTake:
    """One question for held tasks, which the test answers."""

    skill: str
    worker: str
    number: int
    shortest: float
    future: "asyncio.Future[list[Message]]"

    def give(self, *numbers: int, **fields: Any) -> None:
        """These tasks, and that there are no more."""
        tasks = [
            {"job": str(JOB), "lease_seconds": 10.0, "task": {"task": number, "skill": self.skill, **fields}}
            for number in numbers
        ]
        answers = [Message("", "", orjson.dumps(task)) for task in tasks]
        self.future.set_result([*answers, Message("", "", b"", b"NATS/1.0 204 No More\r\n\r\n")])


@dataclass
class Inside:
    """The parts under test.

    `sent` are the answers to deliveries, `wanted` what is asked of the queues, `takes` what is asked of a
    dispatcher that holds tasks.
    """

    holds: bool = False

    lease: float = 60.0
    beatless: float = 300.0
    sent: list[tuple[str, bytes]] = field(default_factory=list)
    wanted: dict[str, float] = field(default_factory=dict)
    stopped: list[Key] = field(default_factory=list)
    takes: list[AskedTake] = field(default_factory=list)
    members: dict[str, Member] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.reports, self.room = FakeReports(), Room()

        def stop(run: Run) -> None:
            self.stopped.append(run.key)

        self.runs = Runs(self.reports, self._send, stop, self.lease, 15.0)
        self.hands = Hands(
            self.members,
            self.room,
            self.runs,
            self.reports,
            self._send,
            self._request,
            self._want,
            self.beatless,
            3,
        )

    def _send(self, subject: str, word: bytes) -> None:
        self.sent.append((subject, word))

    def _request(self, subject: str, data: bytes) -> "asyncio.Future[list[Message]]":
        assert subject == TAKES
        take = AskedTake(**orjson.loads(data), future=self.loop.create_future())
        if self.holds:
            self.takes.append(take)
        else:
            take.give()
        return take.future

    def _want(self, skill: str, number: float) -> None:
        self.wanted[skill] = number

    def join(self, name: str, *skills: str, **facts: Any) -> Member:
        """A worker that is here and has said what it works on."""
        candidate = Candidate(name, {skill: {} for skill in skills}, **facts)
        member = Member(Profile(name, skills, candidate), "i", self.loop.time(), self.loop.time(), 10)
        member.lists_tasks = member.beats = True
        self.members[name] = member
        return member

    def poll(self, name: str, *skills: str, seconds: float = 30.0) -> Poll:
        until = self.loop.time() + seconds
        poll = self.room.make(name, frozenset(skills), until, self.loop.create_future())
        self.hands.wait(poll)
        return poll

    def deliver(
        self,
        number: int = 1,
        skill: str = "echo",
        *,
        delivered: int = 1,
        release: int | None = None,
        **fields: Any,
    ) -> str:
        """A task comes from its queue; where its delivery is answered."""
        sequence = number if release is None else release
        ack = f"$JS.ACK.JOURNAL.skill_{skill}.{delivered}.{sequence}.{number}.1763697600123456000.0"
        released = {"task": number, "skill": skill, **fields}
        data = orjson.dumps({"id": str(JOB), "events": [["TaskReleased", released]]})
        self.hands.take_in(Message(f"journal.job.x.{number}.run.{skill}", ack, data))
        return ack

    def words(self, ack: str) -> list[bytes]:
        return [word for subject, word in self.sent if subject == ack]

    def later(self, seconds: float) -> float:
        return self.loop.time() + seconds


def key(number: int = 1, attempt: int = 1) -> Key:
    return Key(JOB, number, attempt)


def given(poll: Poll) -> Handed:
    """The task that the poll was answered with."""
    handed = poll.answer.result()
    assert handed is not None
    return handed


async def settle() -> None:
    """Let callbacks that are due run."""
    for _ in range(5):
        await asyncio.sleep(0)
