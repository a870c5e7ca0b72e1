"""An HTTP/1.1 client that costs next to nothing: prepared requests over connections that stay open.

It knows what the API answers and no more: a status line, headers with a Content-Length, a body. The
load shares the machine with what it measures, so each microsecond here is taken from the system.
"""

import asyncio
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import orjson

from benchmarks.errors import BadAnswer


class Answer(NamedTuple):
    """A status code and the whole body."""

    status: int
    body: bytes


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int


def address_of(url: str) -> Address:
    """Host and port of a http:// URL. Raises ValueError when one is missing."""
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname is None or parts.port is None:
        raise ValueError(f"not http://HOST:PORT: {url}")
    return Address(parts.hostname, parts.port)


def request(
    method: str,
    path: str,
    *,
    to: Address,
    token: str,
    json: object = None,
    wait_seconds: int | None = None,
) -> bytes:
    """The bytes of a request, made once and sent many times. `wait_seconds` becomes `Prefer: wait=…`."""
    body = b"" if json is None else orjson.dumps(json)
    head = [
        f"{method} {path} HTTP/1.1",
        f"host: {to.host}:{to.port}",
        f"authorization: Bearer {token}",
        f"content-length: {len(body)}",
    ]
    if body:
        head.append("content-type: application/json")
    if wait_seconds is not None:
        head.append(f"prefer: wait={wait_seconds}")
    return "\r\n".join([*head, "", ""]).encode() + body


class Connection(asyncio.Protocol):
    """One connection, one exchange at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._received = b""
        self._body = self._end = 0  # where the body starts and ends, once the headers are there

    @classmethod
    async def open(cls, to: Address) -> "Connection":
        """Raises OSError when nobody listens."""
        _, connection = await asyncio.get_running_loop().create_connection(cls, to.host, to.port)
        return connection

    @property
    def closed(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def exchange(self, data: bytes) -> asyncio.Future[Answer]:
        """Send a whole request and answer its response.

        The future raises ConnectionError when the server closes before the whole answer came, BadAnswer
        when the answer is not understood.
        """
        if self.closed or self._transport is None:
            raise ConnectionError("the connection is closed")
        if self._answer is not None:
            raise RuntimeError("one exchange at a time")
        self._answer = self._loop.create_future()
        self._transport.write(data)
        return self._answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods only

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        if not self._body:
            head = self._received.find(b"\r\n\r\n")
            if head < 0:
                return
            try:
                self._end = head + 4 + _content_length(self._received[:head])
            except BadAnswer as error:
                self._fail(error)
                return
            self._body = head + 4
        if len(self._received) >= self._end:
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(ConnectionError("the server closed the connection"))

    def _finish(self) -> None:
        answer = Answer(int(self._received[9:12]), self._received[self._body : self._end])
        self._received, self._body, self._end = b"", 0, 0
        waiting, self._answer = self._answer, None
        if waiting is None or waiting.done():
            self.close()  # nobody waits any more: the connection is out of step
        else:
            waiting.set_result(answer)

    def _fail(self, error: Exception) -> None:
        waiting, self._answer = self._answer, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)
        self.close()


def _content_length(head: bytes) -> int:
    if not head.startswith(b"HTTP/1.1 "):
        raise BadAnswer(f"not HTTP/1.1: {head[:40]!r}")
    start = head.lower().find(b"\r\ncontent-length:")
    if start < 0:
        if head[9:12] == b"204":
            return 0
        raise BadAnswer("no Content-Length")
    return int(head[start + 17 :].split(b"\r\n", 1)[0])


class Pool:
    """Connections for requests that come at their own time. The last one used is used first."""

    def __init__(self, to: Address) -> None:
        self._to = to
        self._idle: list[Connection] = []

    async def exchange(self, data: bytes) -> Answer:
        """As `Connection.exchange`, over an idle connection or a new one."""
        while self._idle and self._idle[-1].closed:
            self._idle.pop()
        connection = self._idle.pop() if self._idle else await Connection.open(self._to)
        answer = await connection.exchange(data)
        self._idle.append(connection)
        return answer

    def close(self) -> None:
        for connection in self._idle:
            connection.close()
        self._idle.clear()
