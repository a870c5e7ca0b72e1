"""Telling who waits for a sequence how far the rows are, at once when idle and not too often under load."""

import asyncio
from collections.abc import Callable

from shared.broker.connection import Connection

POSITION = "projector.position"
"""{"position": N}: the rows hold everything up to stream sequence N."""

APART_SECONDS = 0.02


class Announcer:
    """Publishes the newest position: the first at once, those that follow within 20 ms together."""

    def __init__(self, publish: Callable[[int], None]) -> None:
        self._publish = publish
        self._loop = asyncio.get_running_loop()
        self._newest = -1
        self._said = -1
        self._next = 0.0
        self._waiting: asyncio.TimerHandle | None = None

    def __call__(self, position: int) -> None:
        self._newest = position
        if self._waiting is None:
            now = self._loop.time()
            if now >= self._next:
                self._say()
            else:
                self._waiting = self._loop.call_at(self._next, self._say)

    def close(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()

    def _say(self) -> None:
        self._waiting = None
        self._next = self._loop.time() + APART_SECONDS
        if self._newest != self._said:
            self._said = self._newest
            self._publish(self._newest)


def publisher(connection: Connection) -> Callable[[int], None]:
    """Publishes on core NATS. Without a connection nothing is said: the next position says it all."""

    def publish(position: int) -> None:
        payload = b'{"position":%d}' % position
        connection.write(b"PUB %b %d\r\n%b\r\n" % (POSITION.encode(), len(payload), payload))

    return publish
