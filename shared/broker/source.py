"""Messages in natural batches: whatever came while the last batch was handled.

A batch of one comes at once, and under load batches grow by themselves. Nothing waits for a batch to fill.
"""

import asyncio
import logging
from collections.abc import AsyncIterator

from shared.broker.connection import Connection
from shared.broker.messages import Message

log = logging.getLogger(__name__)


class Source:
    """A buffer between a sink and one reader of `batches()`."""

    def __init__(self, largest: int = 1024) -> None:
        """`largest` bounds one batch."""
        self._loop = asyncio.get_running_loop()
        self._largest = largest
        self._buffer: list[Message] = []
        self._waiter: asyncio.Future[None] | None = None
        self._stopped = False

    @property
    def waiting(self) -> int:
        """How many messages wait to be taken."""
        return len(self._buffer)

    def put(self, message: Message) -> None:
        self._buffer.append(message)
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def take(self) -> list[Message]:
        """The next batch; empty only after `finish`, when all has been taken."""
        while not self._buffer:
            if self._stopped:
                return []
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if len(self._buffer) <= self._largest:
            batch, self._buffer = self._buffer, []
        else:
            batch, self._buffer = self._buffer[: self._largest], self._buffer[self._largest :]
        return batch

    def finish(self) -> None:
        """Let the reader take what is here, then end."""
        self._stopped = True
        self.wake()

    async def batches(self) -> AsyncIterator[list[Message]]:
        """Batches of at least one message, in order, until the source is stopped."""
        while batch := await self.take():
            yield batch


class SubjectSource(Source):
    """Natural batches from a core subject. Made by `SubjectSource.open`; ended by `stop`.

    `queue` shares the messages among all members of a group. Beyond `most_waiting` messages the newest
    are dropped, with one line of log: core messages are at most once, and their senders ask again.
    """

    def __init__(self, connection: Connection, subject: str, largest: int, most_waiting: int) -> None:
        super().__init__(largest)
        self.subject = subject
        self._connection = connection
        self._most_waiting = most_waiting
        self._sid = 0
        self._dropping = False

    @classmethod
    async def open(
        cls,
        connection: Connection,
        subject: str,
        *,
        queue: str = "",
        largest: int = 1024,
        most_waiting: int = 100_000,
    ) -> "SubjectSource":
        source = cls(connection, subject, largest, most_waiting)
        source._sid = await connection.listen(subject, source._sink, queue)
        return source

    async def stop(self) -> None:
        """Take no more; `batches()` ends after what is waiting."""
        await self._connection.unlisten(self._sid)
        self.finish()

    def _sink(self, subject: bytes, reply: bytes, header: bytes, data: bytes) -> None:
        if len(self._buffer) >= self._most_waiting:
            if not self._dropping:
                log.error("%s: %d messages wait; dropping new ones", self.subject, self.waiting)
            self._dropping = True
            return
        self._dropping = False
        self.put(Message(subject.decode(), reply.decode(), data, header))
