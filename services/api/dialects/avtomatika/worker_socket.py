"""A worker's WebSocket: events come in, commands go out. One connection a worker; a newer one ends it."""

import asyncio
import logging
from typing import Any, Final

import msgspec
import orjson
from starlette.types import Receive, Scope, Send

from services.api.connection import CERTIFIED
from services.api.dialects.avtomatika import worker_models as models
from services.api.dialects.avtomatika.task_ids import task_id_of
from services.api.dialects.avtomatika.token_tables import token_of_header
from services.api.dialects.avtomatika.worker_auth import Denied, WorkerAuth
from services.api.dialects.avtomatika.worker_events import EventRefused, Events
from services.api.gateway.gateway import Gateway
from services.api.gateway.tasks import Key
from services.api.metrics import Metrics
from shared.application.commands import DispatcherSilent

log = logging.getLogger(__name__)

REPLACED: Final = 1008
GOING_AWAY: Final = 1001
MOST_WAITING: Final = 1_000
"""Commands that wait for a worker that does not read; more mean that it is gone."""

Word = dict[str, Any] | int
"""A command, or the code that the connection is closed with."""


class Sockets:
    """The ASGI application of all workers' sockets."""

    def __init__(self, gateway: Gateway, auth: WorkerAuth, events: Events, metrics: Metrics) -> None:
        self._gateway, self._auth, self._events, self._metrics = gateway, auth, events, metrics
        self._open: dict[str, asyncio.Queue[Word]] = {}

    def close(self) -> None:
        """Tell all workers that this process goes away."""
        for words in self._open.values():
            _put(words, GOING_AWAY)

    def hears(self, worker: str) -> bool:
        """Whether the worker has a socket open here."""
        return worker in self._open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        worker = str(scope["path"]).rpartition("/")[2]
        token = token_of_header(headers.get(b"x-worker-token", b""))
        certified: str | None = scope.get(CERTIFIED)
        await receive()  # the client's wish to connect
        try:
            self._auth.check(token, worker, certified)
        except Denied as denied:
            self._metrics.denied(denied.why)
            await _deny(scope, send, denied)
            return
        await send({"type": "websocket.accept"})
        words: asyncio.Queue[Word] = asyncio.Queue(MOST_WAITING)
        before, self._open[worker] = self._open.get(worker), words
        if before is not None:
            _put(before, REPLACED)

        def stop(key: Key) -> None:
            _put(words, {"command": "cancel_task", "task_id": task_id_of(key), "job_id": str(key.job)})

        self._gateway.connect(worker, stop)
        writing = asyncio.ensure_future(_write(words, send))
        reading = asyncio.ensure_future(
            self._read(worker, None if self._auth.vouches(certified) else token, receive)
        )
        try:
            await asyncio.wait({writing, reading}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._gateway.disconnect(worker, stop)
            if self._open.get(worker) is words:
                del self._open[worker]
            for task in (writing, reading):
                task.cancel()
            for ended in await asyncio.gather(writing, reading, return_exceptions=True):
                if isinstance(ended, Exception):
                    log.info("the socket of worker %s broke: %r", worker, ended)

    async def _read(self, worker: str, token: str | None, receive: Receive) -> None:
        """`token` None: who speaks is sure without signatures."""
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text") or message.get("bytes") or b""
            frame = text.encode() if isinstance(text, str) else text
            try:
                if self._auth.signed and token is not None:
                    self._auth.verify(orjson.loads(frame), token, worker, "bubbling_chain")
                await self._events.take(models.event_of(frame), worker)
            except (
                msgspec.DecodeError,
                orjson.JSONDecodeError,
                UnicodeDecodeError,
                RecursionError,
            ) as problem:
                log.warning("worker %s sent what is no event: %s", worker, problem)
            except (EventRefused, Denied, DispatcherSilent) as problem:
                if isinstance(problem, Denied):
                    self._metrics.denied(problem.why)
                log.warning("an event of worker %s is lost: %s", worker, problem)


def _put(words: "asyncio.Queue[Word]", word: Word) -> None:
    if words.full():
        words.get_nowait()  # the heartbeat says it again
    words.put_nowait(word)


async def _write(words: "asyncio.Queue[Word]", send: Send) -> None:
    while True:
        word = await words.get()
        if isinstance(word, int):
            await send({"type": "websocket.close", "code": word, "reason": _REASONS[word]})
            return
        await send({"type": "websocket.send", "text": orjson.dumps(word).decode()})


_REASONS: Final = {REPLACED: "Another connection took its place", GOING_AWAY: "The server stops"}


async def _deny(scope: Scope, send: Send, denied: Denied) -> None:
    """Refuse the upgrade, with words where the server can pass them on."""
    if "websocket.http.response" in (scope.get("extensions") or {}):
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        await send({"type": "websocket.http.response.start", "status": denied.status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": denied.text.encode()})
    else:
        await send({"type": "websocket.close", "code": REPLACED, "reason": denied.text})
