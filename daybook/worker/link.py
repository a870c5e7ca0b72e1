"""The worker's connection to the broker: comes back for ever, and repeats requests until they are answered.

Everything that is sent in one turn of the event loop is one write, and all answers come to one inbox: a
report costs no task and no timer of its own.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import nats.errors
import orjson

from daybook.errors import ConnectionRefused
from shared.broker.connection import Connection, connect, disconnect
from shared.broker.errors import BrokerUnavailable
from shared.broker.messages import Message
from shared.broker.protocol import Sink
from shared.broker.publisher import line
from shared.broker.subjects import WORKER_INBOX

log = logging.getLogger("daybook.worker")

Handler = Callable[[Message], None]
Answer = dict[str, Any]

NO_ANSWER_SECONDS = 5.0
NO_RESPONDER_SECONDS = 1.0
CONNECT_SECONDS = 3.0


class Call:
    """A request that waits for its answer; `due` is when it is sent again."""

    __slots__ = ("due", "future", "payload", "subject")

    def __init__(self, subject: str, payload: bytes, due: float, future: "asyncio.Future[Answer]") -> None:
        self.subject, self.payload, self.due, self.future = subject, payload, due, future


class Link:
    """One connection, which comes back for ever. `on_back` is called each time it was lost and is back."""

    def __init__(self, url: str, token: str, name: str, on_back: Callable[[], None]) -> None:
        self._url, self._token, self._name, self._on_back = url, token, name, on_back
        self._loop = asyncio.get_running_loop()
        self._connection: Connection | None = None
        self._sids: dict[str, int] = {}
        self._inbox = ""
        self._deliveries = 0  # sid of what listens to them
        self._losses = 0
        self._calls: dict[int, Call] = {}
        self._next_call = 0
        self._outbox: list[tuple[str, int, bytes]] = []  # subject, number of the call or 0, protocol line
        self._flushing = False
        self._closing = False

    @property
    def is_up(self) -> bool:
        return self._connection is not None and self._connection.is_connected

    @property
    def max_payload(self) -> int:
        """The largest message the server takes, in bytes."""
        assert self._connection is not None
        return self._connection.max_payload

    async def open(self) -> None:
        """Connect, waiting for the server as long as it takes. Raises ConnectionRefused for a wrong token."""
        self._connection = await self._connect()
        self._inbox = self._connection.inbox()
        await self.listen(f"{self._inbox}.r.*", self._on_answer)

    async def keep(self) -> None:
        """For ever, from `open` on: repeat what is not answered."""
        while True:
            await asyncio.sleep(0.25)
            if not self.is_up:
                continue
            now = self._loop.time()
            for number, call in list(self._calls.items()):
                if call.future.done():
                    del self._calls[number]
                elif call.due <= now:
                    self._again(number, call)

    async def close(self) -> None:
        """Send what waits, then disconnect. Calls without an answer are cancelled."""
        self._closing = True
        for call in self._calls.values():
            call.future.cancel()
        self._calls.clear()
        self._flush()
        if self._connection is not None:
            await disconnect(self._connection, timeout=2.0)

    def delivery_inbox(self, suffix: str) -> str:
        """Where a pull asks for its messages: a subject of this connection, not of the next one.

        A pull outlives the connection that it came on, at the server, but not its way back. If somebody
        listened to the same subject again, the server would take it for alive and fill it with messages
        that reach nobody, and come again only after `ack_wait`.
        """
        return f"{self._inbox}.p{self._losses}.{suffix}"

    async def open_deliveries(self, handler: Handler) -> None:
        """Call `handler` for each message to a `delivery_inbox` of two more tokens. Once."""
        assert self._connection is not None
        self._deliveries = await self._connection.listen(self.delivery_inbox("*.*"), _sink(handler))

    async def close_deliveries(self) -> None:
        """Listen to no more deliveries; what the server had sent before is still handled."""
        sid, self._deliveries = self._deliveries, 0
        await self._end(sid, "deliveries")

    async def listen(self, subject: str, handler: Handler) -> None:
        """Call `handler` for each message from now on. Once a subject."""
        if subject in self._sids:
            return
        assert self._connection is not None
        self._sids[subject] = 0  # nobody else begins it while the server hears of it
        try:
            self._sids[subject] = await self._connection.listen(subject, _sink(handler))
        except BaseException:
            del self._sids[subject]
            raise

    async def unlisten(self, subject: str) -> None:
        """Stop listening; what the server had sent before is still handled."""
        await self._end(self._sids.pop(subject, 0), subject)

    async def _end(self, sid: int, what: str) -> None:
        if self._connection is None:
            return
        try:
            if sid and self._connection.write(b"UNSUB %d\r\n" % sid):
                await self._connection.flush(timeout=2)
            await self._connection.unlisten(sid)
        except (OSError, nats.errors.Error) as error:
            log.warning("could not stop listening to %s: %r", what, error)

    def send(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Publish soon, together with whatever else waits. Kept while there is no connection."""
        self._enqueue(subject, 0, payload, reply)

    def _enqueue(self, subject: str, number: int, payload: bytes, reply: str) -> None:
        self._outbox.append((subject, number, line(subject.encode(), reply.encode(), b"", payload)))
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def call(self, subject: str, payload: bytes) -> "asyncio.Future[Answer]":
        """Send a request; it is repeated until its answer (a JSON object) comes.

        Cancel the future to give up.
        """
        self._next_call = number = self._next_call + 1
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._calls[number] = Call(subject, payload, self._loop.time() + NO_ANSWER_SECONDS, future)
        self._enqueue(subject, number, payload, f"{self._inbox}.r.{number}")
        return future

    def forget_unsent(self, prefix: str) -> None:
        """Drop waiting messages to subjects with this prefix."""
        self._outbox = [item for item in self._outbox if not item[0].startswith(prefix)]

    async def _connect(self) -> Connection:
        """A first connection, tried until it is made."""
        told = False
        while True:
            try:
                connection = await connect(
                    self._url,
                    name=f"daybook-worker {self._name}",
                    user="worker",
                    password=self._token,
                    inbox_prefix=WORKER_INBOX,
                    timeout=CONNECT_SECONDS,
                    reconnect_wait=0.2,
                )
            except BrokerUnavailable as error:
                if "authorization" in str(error.last).lower():
                    raise ConnectionRefused(self._url) from error
                if not told:
                    log.warning("%s; trying until it answers", error)
                    told = True
            else:
                connection.on_lost.append(self._lost)
                connection.on_back.append(self._came_back)
                return connection

    def _flush(self) -> None:
        self._flushing = False
        waiting = self._outbox
        if (
            waiting
            and self._connection is not None
            and self._connection.write(b"".join([text for _, _, text in waiting]))
        ):
            waiting.clear()

    def _again(self, number: int, call: Call) -> None:
        call.due = self._loop.time() + NO_ANSWER_SECONDS
        self._enqueue(call.subject, number, call.payload, f"{self._inbox}.r.{number}")

    def _on_answer(self, message: Message) -> None:
        number = int(message.subject.rpartition(".")[2])
        call = self._calls.get(number)
        if call is None:
            return
        if message.header and message.status == 503:
            # Nobody serves the subject at this moment: ask again, sooner than after silence.
            call.due = self._loop.time() + NO_RESPONDER_SECONDS
            return
        try:
            answer = orjson.loads(message.data)
        except orjson.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict):
            log.error("the answer on %s is not a JSON object: %r", call.subject, message.data[:200])
            return
        del self._calls[number]
        if not call.future.done():
            call.future.set_result(answer)

    def _lost(self) -> None:
        self._losses += 1
        if self._deliveries and self._connection is not None:
            self._connection.listen_elsewhere(self._deliveries, self.delivery_inbox("*.*"))

    def _came_back(self) -> None:
        if self._closing:
            return
        # All calls are sent anew; what they had waiting would be the same again.
        self._outbox = [item for item in self._outbox if item[1] == 0]
        self._on_back()
        for number, call in list(self._calls.items()):
            self._again(number, call)
        self._flush()


def _sink(handler: Handler) -> Sink:
    def sink(subject: bytes, reply: bytes, header: bytes, data: bytes) -> None:
        handler(Message(subject.decode(), reply.decode(), data, header))

    return sink
