"""The releases of the recent past, by the time at which they were stored.

For what a process must know of the last minutes and cannot ask anybody. A consumer that begins at a time is
read to its present end, so the past costs what it holds and nothing before it.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import NamedTuple

from shared.application.ports import JournalUnavailable, StoredCommit
from shared.broker.connection import Connection
from shared.broker.errors import BrokerError
from shared.broker.messages import Message
from shared.broker.pulls import PullSource
from shared.broker.streams import Settings, api
from shared.broker.subjects import JOURNAL, RELEASES
from shared.journal.codec import Codec

WINDOW = 1024
INACTIVE_SECONDS = 30
SKEW = timedelta(seconds=5)
"""A commit is stored after it was decided, and by another clock: so much earlier the reading begins."""


class Recent(NamedTuple):
    """The releases since a moment. `since` is None when nothing was released before the first of them."""

    since: datetime | None
    commits: list[StoredCommit]


async def releases_since(
    connection: Connection,
    codec: Codec,
    now: datetime,
    span: timedelta,
    *,
    most: int,
    holding: bytes = b"",
    timeout: float = 30.0,
) -> Recent:
    """Commits that release a task, decided in the `span` before `now`, whose bytes contain `holding`.

    If the journal has more than `most` releases in it, the span is halved until it has not. Raises
    JournalUnavailable when the answer does not come whole in `timeout` seconds.
    """
    begin = now - span
    try:
        async with asyncio.timeout(timeout):
            state = (await api(connection, f"STREAM.INFO.{JOURNAL}"))["state"]
            while True:
                name = "recent_" + connection.inbox().rpartition(".")[2]
                pending = await _open(connection, name, begin - SKEW)
                if pending > most:
                    await _close(connection, name)
                    span /= 2
                    begin = now - span
                    continue
                try:
                    commits = [
                        codec.decode(message.delivery.sequence, message.subject, message.data)
                        async for message in _messages(connection, name, pending)
                        if holding in message.data
                    ]
                finally:
                    await _close(connection, name)
                return Recent(None if _is_all(state, begin) else begin, commits)
    except (BrokerError, TimeoutError) as error:
        raise JournalUnavailable(f"the releases since {begin} cannot be read: {error}") from error


def _is_all(state: Settings, begin: datetime) -> bool:
    """Whether the journal has nothing from before `begin`, and never had."""
    if not state["messages"]:
        return True
    return state["first_seq"] == 1 and datetime.fromisoformat(state["first_ts"]) >= begin


async def _open(connection: Connection, name: str, start: datetime) -> int:
    """Make the consumer; how many messages it has to give."""
    config = {
        "name": name,
        "ack_policy": "none",
        "deliver_policy": "by_start_time",
        "opt_start_time": start.isoformat(),
        "filter_subjects": [RELEASES],
        "inactive_threshold": INACTIVE_SECONDS * 1_000_000_000,
        "mem_storage": True,
        "num_replicas": 1,
    }
    body = {"stream_name": JOURNAL, "config": config}
    made = await api(connection, f"CONSUMER.CREATE.{JOURNAL}.{name}", body)
    return int(made["num_pending"])


async def _messages(connection: Connection, name: str, number: int) -> AsyncIterator[Message]:
    """The first `number` messages of a consumer. BrokerError when one of them was lost on the way."""
    if not number:
        return
    source = await PullSource.open(connection, JOURNAL, name, window=WINDOW)
    source.on_missing = source.finish
    connection.on_lost.append(source.finish)
    seen = 0
    try:
        async for messages in source.batches():
            for message in messages:
                seen += 1
                if message.delivery.consumer_sequence != seen:
                    raise BrokerError(f"release {seen} of {number} did not come")
                yield message
                if seen == number:
                    return
        raise BrokerError(f"{number - seen} of {number} releases did not come")
    finally:
        connection.on_lost.remove(source.finish)
        await source.stop()


async def _close(connection: Connection, name: str) -> None:
    if connection.is_connected:
        await connection.publish(f"$JS.API.CONSUMER.DELETE.{JOURNAL}.{name}", b"")
