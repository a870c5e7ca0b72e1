"""Where the gateway's tasks come from: the queue of each skill, asked for as many as there are polls."""

import asyncio
import math
from collections.abc import Callable

from shared.broker.connection import Connection
from shared.broker.messages import Message
from shared.broker.pulls import PullSource
from shared.broker.subjects import JOURNAL

MOST_ASKED = 256
"""Messages of one queue that are asked for at a time; a consumer keeps a bounded number of requests."""
HEARTBEAT_SECONDS = 2.0


class Tap(PullSource):
    """A pull source whose messages go to a plain function as they come."""

    take_in: Callable[[Message], None]

    def put(self, message: Message) -> None:
        self.take_in(message)

    def want(self, number: float) -> None:
        """So many messages are wanted now."""
        self.window = min(MOST_ASKED, math.ceil(number))
        self.ask()


class Supply:
    """The taps by the name of their consumer. `take_in` gets each message, `missing` the consumer's name."""

    def __init__(
        self, connection: Connection, take_in: Callable[[Message], None], missing: Callable[[str], None]
    ) -> None:
        self._connection, self._take_in, self._missing = connection, take_in, missing
        self._taps: dict[str, Tap] = {}
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._wanted: dict[str, float] = {}

    async def open(self, consumer: str) -> None:
        """Be ready to ask a consumer that exists. Raises BrokerUnavailable."""
        if consumer in self._taps:
            return
        opening = self._opening.get(consumer)
        if opening is None:
            opening = self._opening[consumer] = asyncio.ensure_future(self._open(consumer))
            opening.add_done_callback(lambda _: self._opening.pop(consumer, None))
        await asyncio.shield(opening)

    def want(self, consumer: str, number: float) -> None:
        """Ask the consumer for so many messages in all, now or as soon as its tap is open."""
        self._wanted[consumer] = number
        tap = self._taps.get(consumer)
        if tap is not None:
            tap.want(number)

    async def close(self) -> None:
        for opening in list(self._opening.values()):
            opening.cancel()
        for tap in self._taps.values():
            await tap.stop()
        self._taps.clear()

    async def _open(self, consumer: str) -> None:
        tap = await Tap.open(self._connection, JOURNAL, consumer, window=0, heartbeat=HEARTBEAT_SECONDS)
        tap.take_in = self._take_in
        tap.on_missing = lambda: self._missing(consumer)
        self._taps[consumer] = tap
        tap.want(self._wanted.get(consumer, 0))
