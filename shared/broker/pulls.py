"""Natural batches from a pull consumer: overlapped pulls that are asked for again whenever they may be lost.

A window of messages is kept asked for; when half of it has come, the next pull goes out, so that the
server never waits for us. Pulls are repeated after silence (the server sends heartbeats while it has
nothing else), after a reconnect, and when the server says that one ended.

Who need not know at once may gather: while messages come faster than that, a pull goes out each so many
seconds and takes what the server has then. One write and one waking of this process do for all of them.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Self

import orjson

from shared.broker.connection import Connection
from shared.broker.messages import Message
from shared.broker.publisher import line
from shared.broker.source import Source

HEARTBEAT = 100
NO_MESSAGES = 404
CONFLICT = 409
NO_RESPONDERS = 503
RETRY_SECONDS = 0.25
GATHERED_LATE = 10
"""Pulls of one who gathers that go out at once after a rest; so what comes slowly never waits."""

log = logging.getLogger(__name__)


class PullSource(Source):
    """Natural batches of one consumer's messages. Made by `PullSource.open`; ended by `stop`.

    `window` is the most that may be asked for and not yet taken; it may be changed at any time (0 pauses),
    followed by `ask()`.
    """

    def __init__(
        self,
        connection: Connection,
        stream: str,
        consumer: str,
        window: int,
        heartbeat: float,
        gather: float = 0.0,
    ) -> None:
        super().__init__(largest=max(window, 1))
        self.window = window
        self.on_missing: Callable[[], None] | None = None
        """Called when the server says that the consumer does not exist; without it we ask again."""
        self._connection = connection
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}".encode()
        self._heartbeat = heartbeat
        self._gather = gather
        self._next_pull = float("-inf")  # when the next pull is due, were they all a gathering time apart
        self._pausing: asyncio.TimerHandle | None = None
        self._inbox = connection.inbox().encode()
        self._sid = 0
        self._asked = 0  # asked for and not yet here
        self._heard = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    async def open(
        cls,
        connection: Connection,
        stream: str,
        consumer: str,
        *,
        window: int = 512,
        heartbeat: float = 5.0,
        gather: float = 0.0,
    ) -> Self:
        """Ask for messages of a consumer that exists. `heartbeat` is in seconds; twice that is silence.

        With `gather`, messages that come faster than each so many seconds are fetched together.
        """
        source = cls(connection, stream, consumer, window, heartbeat, gather)
        source._sid = await connection.listen(source._inbox.decode(), source._sink)
        connection.on_back.append(source._again)
        source.ask()
        source._watch()
        return source

    async def stop(self) -> None:
        """Ask no more; `batches()` ends after what is here."""
        self.window = 0
        for timer in (self._timer, self._pausing):
            if timer is not None:
                timer.cancel()
        if self._again in self._connection.on_back:
            self._connection.on_back.remove(self._again)
        await self._connection.unlisten(self._sid)
        self.finish()

    async def take(self) -> list[Message]:
        batch = await super().take()
        self.ask()
        return batch

    def ask(self) -> None:
        """Fill the window up if half of it is free."""
        room = self.window - self._asked - len(self._buffer)
        if room <= 0 or room * 2 < self.window or not self._connection.is_connected:
            return
        if self._gather and not self._may_pull():
            return
        request = {
            "batch": room,
            "expires": int(self._heartbeat * 6e9),
            "idle_heartbeat": int(self._heartbeat * 1e9),
        }
        if self._gather:
            request["no_wait"] = True  # with `expires`: what is there, else what comes first; then it ends
        if self._connection.write(line(self._subject, self._inbox, b"", orjson.dumps(request))):
            self._asked += room

    def _may_pull(self) -> bool:
        """Whether the next pull may go now; if only a pause is missing, it goes after that."""
        if self._asked or self._pausing is not None:
            return False
        now = self._loop.time()
        if self._next_pull > now:
            self._pausing = self._loop.call_at(self._next_pull, self._paused)
            return False
        self._next_pull = max(self._next_pull, now - GATHERED_LATE * self._gather) + self._gather
        return True

    def _paused(self) -> None:
        self._pausing = None
        self.ask()

    def _sink(self, subject: bytes, reply: bytes, header: bytes, data: bytes) -> None:
        self._heard = self._loop.time()
        if reply:
            self._asked = max(0, self._asked - 1)
            self.put(Message(subject.decode(), reply.decode(), data, header))
        else:
            self._told(Message(subject.decode(), "", data, header))

    def _told(self, message: Message) -> None:
        """The server says something of a pull: that it lives, or that it ended with so much unsent."""
        status = message.status
        if status == HEARTBEAT:
            return
        gone = status == NO_RESPONDERS or (status == CONFLICT and b"Consumer Deleted" in message.header)
        unsent = message.headers.get("Nats-Pending-Messages")
        self._asked = max(0, self._asked - int(unsent)) if unsent is not None and not gone else 0
        if gone and self.on_missing is not None:
            self.on_missing()
        elif status == NO_MESSAGES and self._gather:
            self.ask()
        elif gone or unsent is None:
            self._loop.call_later(RETRY_SECONDS, self.ask)
        else:
            self.ask()

    def _again(self) -> None:
        self._asked = 0
        self._heard = self._loop.time()
        self.ask()

    def _watch(self) -> None:
        self._timer = self._loop.call_later(self._heartbeat, self._watch)
        if self._asked and self._loop.time() - self._heard > 2 * self._heartbeat:
            self._again()
