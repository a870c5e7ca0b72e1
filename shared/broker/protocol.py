"""A parser of the NATS protocol that hands messages to plain functions.

The client library spends some 30 µs on each message: regular expressions, a header dictionary, a queue and
a task per subscription. Subscriptions made with `Connection.listen` need none of that, and all messages of
one read reach their sink before anyone is woken, which is what makes batches natural. Everything else
(control lines, ordinary subscriptions) is handed to the library as before.
"""

import logging
from collections.abc import Callable
from typing import Any

from nats.errors import ProtocolError
from nats.protocol.parser import Parser

Sink = Callable[[bytes, bytes, bytes, bytes], None]
"""Takes subject, reply, header block and payload of one message. It must be quick."""

log = logging.getLogger(__name__)


class SinkParser(Parser):
    """Feeds `sinks` (keyed by subscription id as it stands on the wire) and leaves the rest to `client`."""

    def __init__(self, client: Any, sinks: dict[bytes, Sink]) -> None:
        self._sinks = sinks
        super().__init__(client)

    def reset(self) -> None:
        super().reset()
        self._rest = bytearray()
        self._needed = 0

    async def parse(self, data: bytes = b"") -> None:
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return  # a large payload is joined once, not at every read
            data = bytes(self._rest)
        position, self._needed = await self._consume(data)
        self._rest = bytearray(data[position:])

    async def _consume(self, data: bytes) -> tuple[int, int]:
        """Dispatch the whole messages in `data`: how far it came, and how many bytes the next one needs."""
        sinks, stats = self._sinks, self.nc.stats
        size, position = len(data), 0
        while position < size:
            eol = data.find(b"\r\n", position)
            if eol < 0:
                return position, 0
            parts = data[position:eol].split()
            op = parts[0] if parts else b""
            if op == b"MSG":
                start = body = eol + 2
            elif op == b"HMSG":
                start = eol + 2
                body = start + int(parts[-2])
                del parts[-2]
            else:
                await self._control(op, data[position:eol])
                position = eol + 2
                continue
            end = start + int(parts[-1])
            if end + 2 > size:
                return position, end + 2 - position
            position = end + 2
            reply = parts[3] if len(parts) == 5 else b""
            sink = sinks.get(parts[2])
            if sink is None:
                header = data[start:body] or None
                await self.nc._process_msg(int(parts[2]), parts[1], reply, data[body:end], header)  # noqa: SLF001
                continue
            stats["in_msgs"] += 1
            stats["in_bytes"] += end - body
            try:
                sink(parts[1], reply, data[start:body], data[body:end])
            except Exception:  # an escaping error would end the read loop of the whole connection
                log.exception("a sink failed on %s", parts[1].decode())
        return size, 0

    async def _control(self, op: bytes, line: bytes) -> None:
        """Let the library's own parser act on one control line."""
        if op.upper() not in _CONTROL:
            raise ProtocolError(f"nats: unknown protocol line {line[:40]!r}")
        await super().parse(line + b"\r\n")


_CONTROL = frozenset({b"PING", b"PONG", b"INFO", b"+OK", b"-ERR"})
