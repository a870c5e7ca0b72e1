"""Throwing everything away, for development: the journal's streams, and all that derives from them.

The dispatcher holds jobs in memory, so it is told to start again; whoever keeps processes running does the
rest. Until all is empty nothing that is accepted is sure to stay.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

import orjson

from services.api.problems import retry_after
from shared.application.definitions import Definitions
from shared.broker import subjects
from shared.broker.connection import Connection
from shared.broker.errors import BrokerError, NoResponders
from shared.broker.publisher import Publisher
from shared.broker.streams import api

log = logging.getLogger(__name__)

NOBODY: Final = UUID(int=0)
PATIENCE_SECONDS: Final = 30.0
ASK_SECONDS: Final = 0.1

Flush = Callable[[], Awaitable[None]]


def flush_of(connection: Connection, publisher: Publisher, definitions: Definitions) -> Flush:
    """The function that throws everything away; one at a time."""
    one = asyncio.Lock()

    async def flush() -> None:
        async with one:
            log.warning("everything is thrown away")
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await _until_nobody_decides(publisher)
                    for stream in (subjects.JOURNAL, subjects.TIMERS, subjects.SNAPSHOTS):
                        await api(connection, f"STREAM.PURGE.{stream}", {})
                    definitions.clear()
                    await _rebuild(connection)
                    await _until_somebody_decides(publisher)
            except (TimeoutError, BrokerError) as error:
                raise retry_after("not_ready", f"It is not all thrown away: {error}") from error

    return flush


async def _until_nobody_decides(publisher: Publisher) -> None:
    """Have the dispatcher start again; return when it holds nothing any more. Who is down holds nothing."""
    with contextlib.suppress(NoResponders):
        await publisher.request(subjects.RESTART, b"{}", timeout=PATIENCE_SECONDS / 2)


async def _until_somebody_decides(publisher: Publisher) -> None:
    order = orjson.dumps({"command": "expire", "by": "system:flush"})
    while True:
        with contextlib.suppress(BrokerError):
            await publisher.request(subjects.command(NOBODY), order, timeout=1.0)
            return
        await asyncio.sleep(ASK_SECONDS)


async def _rebuild(connection: Connection) -> None:
    """Have the read model begin anew with what is left; a projector that is down is waited for."""
    answers: asyncio.Queue[bytes] = asyncio.Queue()

    def take(_subject: bytes, _reply: bytes, _header: bytes, data: bytes) -> None:
        answers.put_nowait(data)

    inbox = connection.inbox()
    subscription = await connection.listen(inbox, take)
    try:
        while True:
            await connection.publish("projector.command", b'{"command":"empty"}', reply=inbox)
            answer = await answers.get()
            if answer:  # an empty one is the broker's: nobody listens
                break
            await asyncio.sleep(ASK_SECONDS)
    finally:
        await connection.unlisten(subscription)
    said = orjson.loads(answer)
    if not said.get("ok"):
        raise retry_after("not_ready", str(said.get("error")))
