"""Requests and publishes without a task, a subscription or a flush each.

All requests share one inbox; a future waits for each answer under a number; lines are gathered and written
once a turn of the event loop; one timer watches all time-outs.
"""

import asyncio
from bisect import insort
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from shared.broker.connection import Connection
from shared.broker.errors import BrokerError, NoAnswer, NoResponders, NotSent
from shared.broker.messages import Message

Answer = asyncio.Future[Message]
Told = Callable[["Message | BrokerError"], None]
"""Hears the answer, or why there is none. It must be quick."""
NO_HEADER = b""


class Outgoing(NamedTuple):
    """A message to send. `header` is a whole header block (`NATS/1.0\\r\\n…\\r\\n\\r\\n`) or empty."""

    subject: bytes
    data: bytes
    header: bytes = NO_HEADER


class Publisher:
    """Sends for one connection. Made by `Publisher.start`; use it on one event loop only."""

    def __init__(self, connection: Connection, timeout: float) -> None:
        self.connection = connection
        self.timeout = timeout
        """Seconds that a request waits for its answer when it does not say otherwise."""
        self._loop = asyncio.get_running_loop()
        self._inbox = connection.inbox().encode() + b"."
        self._number = 0
        self._sent = 0  # the highest number whose lines were written
        self._waiting: dict[int, Told] = {}
        self._gathering: dict[int, tuple[list[Message], asyncio.Future[list[Message]]]] = {}
        self._lines: list[tuple[int, bytes]] = []
        self._deadlines: list[tuple[float, int]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._flushing = False
        self._sid = 0

    @classmethod
    async def start(cls, connection: Connection, *, timeout: float = 5.0) -> "Publisher":
        """A publisher whose inbox the server knows."""
        publisher = cls(connection, timeout)
        publisher._sid = await connection.listen(publisher._inbox.decode() + "*", publisher._answer)
        connection.on_lost.append(publisher._lost)
        connection.on_back.append(publisher._back)
        return publisher

    async def stop(self) -> None:
        """Write what is gathered, and fail what still waits: NotSent or NoAnswer."""
        self._flush()
        self.connection.on_lost.remove(self._lost)
        self.connection.on_back.remove(self._back)
        self._fail_sent("the publisher was stopped")
        for number in [*self._waiting, *self._gathering]:
            self._fail(number, NotSent("the publisher was stopped"))
        if self._timer is not None:
            self._timer.cancel()
        await self.connection.unlisten(self._sid)

    @property
    def in_flight(self) -> int:
        """How many requests wait for an answer."""
        return len(self._waiting)

    def publish(self, subject: str | bytes, data: bytes = b"", header: bytes = NO_HEADER) -> None:
        """Send without an answer. At most once: while there is no connection it is dropped."""
        if self.connection.is_connected:
            self._gather(0, line(_bytes(subject), b"", header, data))

    def request(
        self, subject: str | bytes, data: bytes = b"", header: bytes = NO_HEADER, timeout: float | None = None
    ) -> Answer:
        """Send and wait for one answer.

        The future fails with NoResponders or NotSent (no effect), or NoAnswer (effect unknown): at the
        latest after `timeout` seconds, and at once when the connection breaks. While there is no
        connection requests wait for it, up to their time-out.
        """
        return self.request_in_order([Outgoing(_bytes(subject), data, header)], timeout)

    def request_in_order(self, messages: Sequence[Outgoing], timeout: float | None = None) -> Answer:
        """Send `messages` in one write; the answer is that to the last of them."""
        answer: Answer = self._loop.create_future()
        self.ask(messages, partial(_settle, answer), timeout)
        return answer

    def ask(self, messages: Sequence[Outgoing], told: Told, timeout: float | None = None) -> None:
        """`request_in_order` that tells the answer as it comes, without a future."""
        number = self._next(timeout)
        self._waiting[number] = told
        *first, last = messages
        reply = b"%b%d" % (self._inbox, number)
        lines = line(last.subject, reply, last.header, last.data)
        if first:
            lines = b"".join([*(line(m.subject, b"", m.header, m.data) for m in first), lines])
        self._gather(number, lines)

    def request_many(
        self, subject: str | bytes, data: bytes = b"", timeout: float | None = None
    ) -> asyncio.Future[list[Message]]:
        """Send and gather answers up to and with the first that has a status (204 ends a direct get)."""
        answers: asyncio.Future[list[Message]] = self._loop.create_future()
        number = self._next(timeout)
        self._gathering[number] = ([], answers)
        self._gather(number, line(_bytes(subject), b"%b%d" % (self._inbox, number), NO_HEADER, data))
        return answers

    def _next(self, timeout: float | None) -> int:
        self._number = number = self._number + 1
        deadline = self._loop.time() + (self.timeout if timeout is None else timeout)
        deadlines = self._deadlines
        if deadlines and deadline < deadlines[-1][0]:
            insort(deadlines, (deadline, number))
        else:
            deadlines.append((deadline, number))
        if self._timer is None or deadline < self._timer.when():
            self._watch()
        return number

    def _gather(self, number: int, lines: bytes) -> None:
        self._lines.append((number, lines))
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        gathered = self._lines
        if gathered and self.connection.write(b"".join([lines for _, lines in gathered])):
            self._sent = self._number
            gathered.clear()

    def _answer(self, subject: bytes, reply: bytes, header: bytes, data: bytes) -> None:
        number = int(subject[len(self._inbox) :])
        told = self._waiting.pop(number, None)
        message = Message(subject.decode(), reply.decode(), data, header)
        if told is not None:
            if header and message.status == 503:
                told(NoResponders("nobody answers on that subject"))
            else:
                told(message)
        elif number in self._gathering:
            messages, answers = self._gathering[number]
            messages.append(message)
            if message.status:
                del self._gathering[number]
                if answers.done():
                    return
                if message.status == 503:
                    answers.set_exception(NoResponders("nobody answers on that subject"))
                else:
                    answers.set_result(messages)

    def _watch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._deadlines[0][0], self._expire) if self._deadlines else None

    def _expire(self) -> None:
        now = self._loop.time()
        self._timer = None
        late: list[int] = []
        over = 0
        for deadline, number in self._deadlines:
            if number in self._waiting or number in self._gathering:
                if deadline > now:
                    break
                late.append(number)
            over += 1
        del self._deadlines[:over]
        for number in late:
            if number > self._sent:
                self._lines = [entry for entry in self._lines if entry[0] != number]
                self._fail(number, NotSent("no connection to the broker in time"))
            else:
                self._fail(number, NoAnswer("no answer in time"))
        self._watch()

    def _lost(self) -> None:
        self._lines = [entry for entry in self._lines if entry[0]]
        self._fail_sent("the connection broke")

    def _back(self) -> None:
        self._flush()

    def _fail_sent(self, why: str) -> None:
        for number in [n for n in (*self._waiting, *self._gathering) if n <= self._sent]:
            self._fail(number, NoAnswer(why))

    def _fail(self, number: int, error: BrokerError) -> None:
        if (told := self._waiting.pop(number, None)) is not None:
            told(error)
        elif number in self._gathering:
            _, answers = self._gathering.pop(number)
            if not answers.done():
                answers.set_exception(error)


def line(subject: bytes, reply: bytes, header: bytes, data: bytes) -> bytes:
    """The protocol line of one publish."""
    if header:
        size = len(header)
        return b"HPUB %b %b %d %d\r\n%b%b\r\n" % (subject, reply, size, size + len(data), header, data)
    return b"PUB %b %b %d\r\n%b\r\n" % (subject, reply, len(data), data)


def _settle(answer: Answer, outcome: Message | BrokerError) -> None:
    if answer.done():
        return  # cancelled by the one who waited
    if isinstance(outcome, Message):
        answer.set_result(outcome)
    else:
        answer.set_exception(outcome)


def _bytes(subject: str | bytes) -> bytes:
    return subject.encode() if isinstance(subject, str) else subject
