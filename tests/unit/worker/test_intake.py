"""How many tasks are asked for, and what happens to those that come."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import orjson
import pytest

from daybook.worker import intake as module
from daybook.worker.intake import NEXT, Intake, Queue
from daybook.worker.link import Handler
from daybook.worker.wire import Task
from shared.broker.messages import Message
from shared.broker.subjects import commit_subject


class FakeLink:
    """Keeps what is sent; a test says what comes."""

    def __init__(self) -> None:
        self.is_up = True
        self.sent: list[tuple[str, bytes, str]] = []
        self.handler: Handler | None = None

    def delivery_inbox(self, suffix: str) -> str:
        return f"_INBOX.me.{suffix}"

    def send(self, subject: str, payload: bytes, reply: str = "") -> None:
        self.sent.append((subject, payload, reply))

    def forget_unsent(self, prefix: str) -> None:
        """Nothing waits here."""

    async def open_deliveries(self, handler: Handler) -> None:
        self.handler = handler

    async def close_deliveries(self) -> None:
        """A message may still come."""


class Room:
    """A worker with `free` slots that keeps what it starts."""

    def __init__(self, free: int) -> None:
        self.free = free
        self.started: list[int] = []
        self.lost: list[str] = []
        self.link = FakeLink()
        self.intake = Intake(self.link, lambda: self.free, self.start, self.lost.append)  # type: ignore[arg-type]  # a fake

    def start(self, task: Task, queue: Queue) -> None:
        self.started.append(task.number)
        self.free -= 1

    async def open(self, *skills: str) -> "Room":
        await self.intake.open()
        self.intake.set_queues([Queue(skill, f"skill_{skill}", 15) for skill in skills])
        await asyncio.sleep(0)
        return self

    def asked(self) -> list[tuple[str, int, str]]:
        """The pull requests since the last look: consumer, batch, reply."""
        pulls = [
            (subject.removeprefix(NEXT), orjson.loads(body)["batch"], reply)
            for subject, body, reply in self.link.sent
            if subject.startswith(NEXT)
        ]
        self.link.sent = [item for item in self.link.sent if not item[0].startswith(NEXT)]
        return pulls

    async def comes(self, skill: str, number: int) -> None:
        assert self.link.handler is not None
        self.link.handler(task_message(skill, number))
        await asyncio.sleep(0)

    async def told(self, reply: str, status: bytes) -> None:
        assert self.link.handler is not None
        self.link.handler(Message(reply, "", b"", b"NATS/1.0 " + status + b"\r\n\r\n"))
        await asyncio.sleep(0)


def task_message(skill: str, number: int) -> Message:
    subject = commit_subject("job", UUID(int=number), 1, skill)
    released = {"task": number, "skill": skill}
    body = orjson.dumps({"id": str(UUID(int=number)), "n": 1, "events": [["TaskReleased", released]]})
    return Message(subject, f"$JS.ACK.JOURNAL.skill_{skill}.1.{number}.{number}.0.0", body)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = 1000.0

    def forward(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    return forward


async def test_one_queue_is_asked_for_as_many_tasks_as_there_are_slots() -> None:
    room = await Room(5).open("a")
    assert [(consumer, batch) for consumer, batch, _ in room.asked()] == [("skill_a", 5)]
    await room.comes("a", 1)
    assert room.asked() == []
    room.free += 1
    room.intake.ask()
    await asyncio.sleep(0)
    assert [batch for _, batch, _ in room.asked()] == [1]


async def test_slots_that_become_free_together_are_one_request() -> None:
    room = await Room(0).open("a")
    assert room.asked() == []
    for _ in range(3):
        room.free += 1
        room.intake.ask()
    await asyncio.sleep(0)
    assert [batch for _, batch, _ in room.asked()] == [3]


async def test_while_most_is_asked_for_nothing_more_is() -> None:
    room = await Room(64).open("a")
    assert [batch for _, batch, _ in room.asked()] == [64]
    for number in range(1, 8):
        room.free += 1
        await room.comes("a", number)
    assert room.asked() == []
    room.free += 1
    await room.comes("a", 8)
    assert [batch for _, batch, _ in room.asked()] == [8]


async def test_queues_share_the_slots_and_none_goes_without() -> None:
    room = await Room(8).open("a", "b")
    assert [(consumer, batch) for consumer, batch, _ in room.asked()] == [("skill_a", 4), ("skill_b", 4)]
    for number in range(1, 5):
        await room.comes("a", number)
    # Four slots are free and four tasks are asked for from the idle queue: the busy one still asks for one.
    assert sum(batch for consumer, batch, _ in room.asked() if consumer == "skill_a") == 1


async def test_a_task_without_a_slot_is_held_and_started_first_when_one_is_free() -> None:
    room = await Room(1).open("a", "b")
    await room.comes("a", 1)
    await room.comes("b", 2)
    assert (room.started, room.intake.held) == ([1], 1)
    room.free += 1
    room.intake.ask()
    await asyncio.sleep(0)
    assert (room.started, room.intake.held) == ([1, 2], 0)


async def test_a_task_held_too_long_is_given_back(clock: Callable[[float], None]) -> None:
    room = await Room(0).open("a")
    await room.comes("a", 1)
    clock(0.9)
    room.intake.tick()
    assert room.intake.held == 1
    clock(0.2)
    room.intake.tick()
    assert room.intake.held == 0
    assert room.link.sent[-1][:2] == ("$JS.ACK.JOURNAL.skill_a.1.1.1.0.0", b"-NAK")


async def test_a_task_that_comes_while_stopping_is_given_back() -> None:
    room = await Room(2).open("a")
    await room.intake.stop()
    await room.comes("a", 1)
    assert room.started == []
    assert room.link.sent[-1][1] == b"-NAK"


async def test_a_request_that_expired_is_made_again() -> None:
    room = await Room(3).open("a")
    ((_, _, reply),) = room.asked()
    await room.comes("a", 1)
    await room.told(reply, b"408 Request Timeout")
    assert [batch for _, batch, _ in room.asked()] == [2]


async def test_a_heartbeat_ends_nothing() -> None:
    room = await Room(3).open("a")
    ((_, _, reply),) = room.asked()
    await room.told(reply, b"100 Idle Heartbeat")
    assert room.asked() == []


async def test_a_silent_queue_is_asked_again(clock: Callable[[float], None]) -> None:
    room = await Room(3).open("a")
    room.asked()
    clock(11.9)
    room.intake.tick()
    await asyncio.sleep(0)
    assert room.asked() == []
    clock(0.2)
    room.intake.tick()
    await asyncio.sleep(0)
    assert [batch for _, batch, _ in room.asked()] == [3]


async def test_a_request_that_nobody_ends_is_over_at_its_deadline(clock: Callable[[float], None]) -> None:
    room = await Room(3).open("a")
    ((_, _, reply),) = room.asked()
    for _ in range(6):
        clock(5)
        await room.told(reply, b"100 Idle Heartbeat")
    clock(2.5)
    room.intake.tick()
    await asyncio.sleep(0)
    assert [batch for _, batch, _ in room.asked()] == [3]


@pytest.mark.parametrize("status", [b"503", b"409 Consumer Deleted"])
async def test_a_queue_that_is_gone_is_told_and_left_alone_for_a_moment(
    clock: Callable[[float], None], status: bytes
) -> None:
    room = await Room(3).open("a")
    ((_, _, reply),) = room.asked()
    await room.told(reply, status)
    assert room.lost == ["a"]
    assert room.asked() == []
    clock(1.1)
    room.intake.tick()
    await asyncio.sleep(0)
    assert [batch for _, batch, _ in room.asked()] == [3]


async def test_nothing_is_asked_while_the_connection_is_down_and_all_after_it() -> None:
    room = await Room(3).open("a")
    room.asked()
    room.link.is_up = False
    room.intake.reconnected()
    await asyncio.sleep(0)
    assert room.asked() == []
    room.link.is_up = True
    room.intake.reconnected()
    await asyncio.sleep(0)
    assert [batch for _, batch, _ in room.asked()] == [3]


async def test_a_second_hello_changes_nothing_for_a_queue_that_is_known() -> None:
    room = await Room(3).open("a")
    room.asked()
    known: Any = Queue("a", "skill_a", 20)
    room.intake.set_queues([known])
    await asyncio.sleep(0)
    assert room.asked() == []
