"""The connection to the broker: reconnects for ever, says once when it is lost and once when it is back."""

import asyncio
import contextlib
import functools
import logging
import random
import time
from collections.abc import Callable
from typing import Any

import nats.errors
from nats.aio.client import Client, Server, Srv
from nats.aio.subscription import Subscription
from nats.protocol.parser import STALE_CONNECTION

from shared.broker.errors import BrokerUnavailable
from shared.broker.protocol import Sink, SinkParser
from shared.broker.subjects import OUR_INBOX

LONGEST_WAIT_SECONDS = 2.0
"""Between two attempts to reconnect; the first ones follow each other sooner."""
TELL_AGAIN_SECONDS = 60.0

log = logging.getLogger(__name__)


class Connection(Client):
    """A client of the library with two additions: `listen` (messages go to a plain function) and `write`.

    All knowledge of the library's inside is in this class and in `SinkParser`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._sinks: dict[bytes, Sink] = {}
        self._listening: dict[int, Subscription] = {}
        self._ps = SinkParser(self, self._sinks)
        self.on_lost: list[Callable[[], None]] = []
        self.on_back: list[Callable[[], None]] = []
        self.closing = False
        """Whether it is us who close it."""

    async def close(self) -> None:
        self.closing = True
        await super().close()

    async def listen(self, subject: str, sink: Sink, queue: str = "") -> int:
        """Call `sink` for each message on `subject`; the answer is for `unlisten`. Survives reconnects.

        When it returns, the server knows the subscription. Raises BrokerUnavailable when it is silent.
        """
        sid = self._sid + 1  # what `subscribe` takes before it first gives way
        self._sinks[b"%d" % sid] = sink
        subscription = await self.subscribe(subject, queue)
        self._listening[sid] = subscription
        try:
            await self.settle()
        except BaseException:
            await self.unlisten(sid)
            raise
        return sid

    async def settle(self, timeout: float = 10.0) -> None:
        """Return when the server has acted on all that was written so far, or when the connection breaks.

        Raises BrokerUnavailable when it is silent. The library's own `flush` puts its PING on the wire ahead
        of what it still has gathered, so that the answer may come before the server knows of a new
        subscription; and it swallows cancellations.
        """
        if not self.is_connected or self._transport is None:
            return
        pong: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def lost() -> None:
            if not pong.done():
                pong.set_result(False)

        self._pongs.append(pong)
        self._transport.writelines([*self._pending, b"PING\r\n"])
        self.forget_pending()
        self.on_lost.append(lost)
        try:
            async with asyncio.timeout(timeout):
                await pong
        except TimeoutError as error:
            raise BrokerUnavailable(self._url(), error) from error
        finally:
            self.on_lost.remove(lost)

    def listen_elsewhere(self, sid: int, subject: str) -> None:
        """Let what `listen` began be for `subject` from the next reconnect on. For callbacks of `on_lost`."""
        # What the library tells the server when it is back:
        self._listening[sid]._subject = subject  # noqa: SLF001

    async def unlisten(self, sid: int) -> None:
        """Stop what `listen` began. What the server sent before is dropped."""
        self._sinks.pop(b"%d" % sid, None)
        subscription = self._listening.pop(sid, None)
        if subscription is not None and not self.is_closed and not self.is_draining:
            await subscription.unsubscribe()

    def write(self, lines: bytes) -> bool:
        """Put protocol lines on the wire at once; False when there is no connection to put them on."""
        if not self.is_connected or self._transport is None:
            return False
        self._transport.write(lines)
        return True

    def forget_pending(self) -> None:
        """Drop what the library has gathered and not written; closing would try to write it."""
        self._pending = []
        self._pending_data_size = 0

    async def _connect_to_server(self, s: Srv) -> None:
        # Python 3.11's wait_for may swallow the cancellation of an attempt that fails in the same moment;
        # the library would then try for ever on a connection that nobody wants any more.
        if self.closing:
            raise asyncio.CancelledError
        if self._transport is not None:
            self._transport.close()  # type: ignore[no-untyped-call]  # an attempt that was refused leaves its socket open
        await super()._connect_to_server(s)

    async def _process_err(self, err_msg: str) -> None:
        # The library gives the connection up at most errors of the server, for good and in a task beside the
        # reconnect that the end of the socket begins; the two cut each other short, and what is left may be
        # neither closed nor connected. Where the server means to part it also ends the socket: that is
        # what counts, and after it the reconnect tries for ever.
        if STALE_CONNECTION in err_msg:
            await super()._process_err(err_msg)
        else:
            self._err = nats.errors.Error(f"nats: {err_msg.strip()}")
            await self._error_cb(self._err)

    async def _attempt_reconnect(self) -> None:
        # An error that the library does not expect would end its task, and nobody would try any more.
        while not self.is_closed:
            try:
                await super()._attempt_reconnect()
                break
            except Exception as error:  # noqa: BLE001 (told, and tried again)
                await self._error_cb(error)
                await asyncio.sleep(LONGEST_WAIT_SECONDS)

    async def _process_pong(self) -> None:
        # The library sets the result of whatever waits first, also when nobody waits any more; that error
        # would end the reading of the connection.
        self._pongs_received += 1
        self._pings_outstanding = 0
        if self._pongs:
            pong = self._pongs.pop(0)
            if not pong.done():
                pong.set_result(True)

    def _url(self) -> str:
        return (
            f"{self.connected_url.hostname}:{self.connected_url.port}" if self.connected_url else "the broker"
        )

    def inbox(self) -> str:
        """A subject that only this connection listens to."""
        return self.new_inbox()


async def connect(
    url: str,
    *,
    name: str,
    user: str | None = None,
    password: str | None = None,
    inbox_prefix: str = OUR_INBOX,
    timeout: float = 10.0,
    reconnect_wait: float = 0.1,
    **options: Any,
) -> Connection:
    """Connect as `user` and stay connected: after the first success it reconnects for ever.

    That holds for credentials too that are refused later: they may be valid again. Between two attempts it
    waits `reconnect_wait` seconds at first, then twice as long each time up to LONGEST_WAIT_SECONDS, and
    the log says why it is not connected.

    Raises BrokerUnavailable when the first connection is not made within `timeout` seconds, at once when
    the server refuses the credentials. A worker passes `inbox_prefix=WORKER_INBOX`. Further `options` go to
    the client library.
    """
    connection = Connection()
    outage = _Outage(connection, url)
    first = asyncio.ensure_future(
        connection.connect(
            url,
            name=name,
            user=user,
            password=password,
            inbox_prefix=inbox_prefix,
            max_reconnect_attempts=-1,
            reconnect_time_wait=reconnect_wait,  # type: ignore[arg-type]  # parts are fine
            reconnect_to_server_handler=functools.partial(_next_server, reconnect_wait),
            ping_interval=options.pop("ping_interval", 10),
            error_cb=outage.error,
            disconnected_cb=outage.lost,
            reconnected_cb=outage.back,
            closed_cb=outage.closed,
            **options,
        )
    )
    either: set[asyncio.Future[Any]] = {first, outage.refused}
    try:
        await asyncio.wait(either, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if not first.done():
            raise BrokerUnavailable(url, outage.refused.result() if outage.refused.done() else outage.last)
        await first
    except BaseException:
        connection.closing = True
        first.cancel()
        await asyncio.wait({first})
        await disconnect(connection)
        raise
    finally:
        outage.refused.cancel()
    outage.connected = True
    return connection


async def disconnect(connection: Connection, timeout: float = 5.0) -> None:
    """Let what was written reach the server, then close, each within `timeout` seconds.

    Never raises for a broker that is gone.
    """
    connection.closing = True
    if connection.is_connected:
        with contextlib.suppress(BrokerUnavailable):
            await connection.settle(timeout)
    connection.forget_pending()
    if not connection.is_closed:
        # In a task of its own: a reconnect that is cut short can cancel a future that closing waits for.
        closing = asyncio.ensure_future(connection.close())
        await asyncio.wait({closing}, timeout=timeout)
        if not closing.cancel() and not closing.cancelled() and (error := closing.exception()):
            log.debug("closing the connection: %r", error)


def _next_server(wait: float, servers: list[Server], info: dict[str, Any]) -> tuple[Server, float]:
    """The server that failed least, and how many seconds to wait before it is tried.

    Between half and all of the wait: those that lost one server together do not come back in one moment.
    """
    server = min(servers, key=lambda server: server.reconnects)
    longest = min(LONGEST_WAIT_SECONDS, wait * 2 ** min(server.reconnects, 16))
    return server, longest * random.uniform(0.5, 1)  # noqa: S311 (no secret)


class _Outage:
    """Turns the library's callbacks into a line of log an outage and reason, and tells those who asked."""

    def __init__(self, connection: Connection, url: str) -> None:
        self.connection, self.url = connection, url
        self.last: BaseException | None = None
        self.refused: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self.connected = False
        self.down = False
        self.told = ""
        self.told_at = 0.0

    async def error(self, error: Exception) -> None:
        self.last = error
        if not self.refused.done() and "authorization" in str(error).lower():
            self.refused.set_result(error)
        if self.connected and not self.down:
            log.warning("broker: %r", error)
        elif self.down and not self.connection.closing:
            self._tell(str(error) or repr(error))

    def _tell(self, reason: str) -> None:
        """Say why there is no connection: once a reason, and again after a minute."""
        now = time.monotonic()
        if reason != self.told or now - self.told_at > TELL_AGAIN_SECONDS:
            self.told, self.told_at = reason, now
            log.warning("not connected to the broker: %s; trying for ever", reason)

    async def lost(self) -> None:
        if not self.connected:
            return
        if not self.down and not self.connection.closing:
            log.warning("connection to the broker lost; reconnecting")
        self.down = True
        for tell in list(self.connection.on_lost):
            tell()

    async def back(self) -> None:
        log.info("connection to the broker is back")
        self.down, self.told = False, ""
        for tell in list(self.connection.on_back):
            tell()

    async def closed(self) -> None:
        if self.connected and not self.connection.closing:
            log.error("connection to the broker closed: %s", self.last)
        for tell in list(self.connection.on_lost):
            tell()
