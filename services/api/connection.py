"""A client's connection: uvicorn's, with bounds on the head of a request and problems for what is not HTTP.

The parser keeps whatever it is sent until a head is complete, so without a bound a stranger could fill the
memory, or hold connections open for ever, without a token.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from services.api.one_write import OneWrite
from services.api.problems import CONTENT_TYPE, Problem

log = logging.getLogger(__name__)

MAX_HEAD_BYTES: Final = 64 * 1024
"""Measured once a read, so a head may be larger by what one read brings."""
HEAD_SECONDS: Final = 30.0
ON_GONE: Final = "daybook.on_gone"
"""In a request's scope: what is called when the client hangs up. Watching for that costs no task so."""


CERTIFIED: Final = "daybook.certified"
"""In a scope: the common name in the client's certificate, which the TLS layer has verified."""


def common_name(transport: object) -> str | None:
    """The common name in the certificate of whoever is at the other end; None when it showed none."""
    inside = getattr(transport, "get_extra_info", None)
    session = None if inside is None else inside("ssl_object")
    subject = (session.getpeercert() or {}).get("subject", ()) if session is not None else ()
    names = [value for part in subject for name, value in part if name == "commonName"]
    return names[0] if len(names) == 1 else None  # two names are none


class SocketConnection(WebSocketsSansIOProtocol):
    """A WebSocket that tells the application whose certificate it came with."""

    def handle_connect(self, event: Request) -> None:
        certified = common_name(self.transport)
        app = self.app

        async def known(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, CERTIFIED: certified}, receive, send)

        if certified is not None:
            self.app = known
        super().handle_connect(event)

    def send_receive_event_to_app(self) -> None:
        """A text that is not UTF-8 is the client's fault: uvicorn would log a traceback for each."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError as problem:
                self.frames = []
                log.info("a client's WebSocket is closed, it sent a text that is not UTF-8: %s", problem)
                self.conn.send_close(1007, "A text must be UTF-8")
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    async def send(self, message: Any) -> None:
        """An upgrade that was refused with an answer of HTTP is over: uvicorn would log an error for each."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True


class Connection(HttpToolsProtocol):
    """One connection of a client."""

    head_seconds = HEAD_SECONDS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._certified = common_name(transport)
        super().connection_made(OneWrite(transport, self.loop))  # type: ignore[arg-type]  # it is one in all but name
        self._head_bytes = 0
        # When the head that is awaited or coming began; None while a request is handled and between requests,
        # where uvicorn's own time-out for idle connections counts.
        self._head_since: float | None = self.loop.time()
        # One timer for the connection's life: one for each request would cost more than it guards.
        self._head_timer = self.loop.call_later(self.head_seconds, self._check_head)
        self._on_gone: list[Callable[[], None]] = []

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_timer.cancel()
        super().connection_lost(exc)
        for act in list(self._on_gone):
            act()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_since is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self._refuse(Problem("head_too_large", f"The limit is {MAX_HEAD_BYTES} bytes."))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[ON_GONE] = self._on_gone  # type: ignore[typeddict-unknown-key]
        if self._certified is not None:
            self.scope[CERTIFIED] = self._certified  # type: ignore[typeddict-unknown-key]
        self._head_since = self.loop.time()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._head_since, self._head_bytes = None, 0

    def send_400_response(self, msg: str) -> None:
        self._refuse(Problem("malformed_request", msg))

    def _check_head(self) -> None:
        since = self._head_since
        if since is not None and self.loop.time() - since >= self.head_seconds:
            self.transport.close()
        elif not self.transport.is_closing():
            self._head_timer = self.loop.call_later(self.head_seconds, self._check_head)

    def _refuse(self, problem: Problem) -> None:
        body = problem.body()
        lines = [
            f"HTTP/1.1 {problem.status} Refused",
            f"content-type: {CONTENT_TYPE}",
            f"content-length: {len(body)}",
            "connection: close",
        ]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        self.transport.close()
