"""Reading one aggregate's commits straight from the store, without a consumer.

Each commit has a subject of its own, so "the last message on each subject" is all of them: one request,
0.4 ms. The server gives at most 1,024 subjects to one such request; a longer history is read in pages,
each naming the versions where a commit may begin.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import orjson

from shared.broker.errors import BrokerError, NoAnswer
from shared.broker.messages import Message
from shared.broker.publisher import Publisher
from shared.broker.subjects import JOURNAL

_DIRECT = "$JS.API.DIRECT.GET."
DIRECT_GET = f"{_DIRECT}{JOURNAL}"
END, NOT_FOUND, TOO_MANY = 204, 404, 413
SMALL_PAGE = 32
PAGE = 1000


class StoredMessage(NamedTuple):
    """A message as the stream keeps it."""

    sequence: int
    subject: str
    data: bytes


async def read_aggregate(publisher: Publisher, subjects: str, timeout: float) -> list[StoredMessage]:
    """All messages under `subjects` (`journal.<kind>.<id>.>`) in order; empty when there are none.

    Raises BrokerError when the answer does not come whole.
    """
    messages = await _last_of_each(publisher, [subjects], timeout)
    if messages is None:
        messages = await read_after(publisher, subjects, 0, timeout)
    return messages


async def read_range(
    publisher: Publisher, subjects: str, start: int, limit: int, timeout: float
) -> list[StoredMessage]:
    """At most `limit` messages under `subjects` from stream sequence `start` on, in order.

    For tools: with a wildcard it costs the server more than a consumer would once there are many subjects.
    """
    found: list[StoredMessage] = []
    while len(found) < limit:
        request = {"seq": start, "next_by_subj": subjects, "batch": min(limit - len(found), PAGE)}
        *messages, end = await publisher.request_many(DIRECT_GET, orjson.dumps(request), timeout)
        if end.status == NOT_FOUND:
            break
        if end.status != END:
            raise BrokerError(f"{DIRECT_GET}: {end.header.decode('utf-8', 'replace').strip()}")
        found += [_stored(message) for message in messages]
        if not messages:
            break
        start = found[-1].sequence + 1
    return found


async def read_short(
    publisher: Publisher, subjects: str, most: int, timeout: float
) -> list[StoredMessage] | None:
    """All messages under `subjects` in order if they are `most` or fewer, else None."""
    request = {"multi_last": [subjects], "batch": most}
    *messages, end = await publisher.request_many(DIRECT_GET, orjson.dumps(request), timeout)
    if end.status == NOT_FOUND:
        return []
    if end.status == TOO_MANY:
        return None
    if end.status != END:
        raise BrokerError(f"{DIRECT_GET}: {end.header.decode('utf-8', 'replace').strip()}")
    return None if int(end.headers["Nats-Num-Pending"]) else [_stored(message) for message in messages]


async def read_last(
    publisher: Publisher, subjects: str, timeout: float, stream: str = JOURNAL
) -> StoredMessage | None:
    """The newest message under `subjects`, None when there is none."""
    return await _one(publisher, {"last_by_subj": subjects}, timeout, stream)


async def read_at(publisher: Publisher, sequence: int, timeout: float) -> StoredMessage | None:
    """The commit at a sequence of the stream, None when there is none."""
    return await _one(publisher, {"seq": sequence}, timeout, JOURNAL)


async def _one(
    publisher: Publisher, request: dict[str, object], timeout: float, stream: str
) -> StoredMessage | None:
    subject = f"{_DIRECT}{stream}"
    message = await publisher.request(subject, orjson.dumps(request), timeout=timeout)
    if message.status == NOT_FOUND:
        return None
    if message.status:
        raise BrokerError(f"{subject}: {message.header.decode('utf-8', 'replace').strip()}")
    return _stored(message)


async def read_after(
    publisher: Publisher, subjects: str, version: int, timeout: float
) -> list[StoredMessage]:
    """The messages under `subjects` behind the commit that ends with `version`, in order.

    A commit that ends with version v is followed by the one of n = v + 1.
    """
    prefix = subjects.removesuffix(">")
    messages: list[StoredMessage] = []
    page = SMALL_PAGE
    first = version + 1
    while True:
        filters = [f"{prefix}{n}.>" for n in range(first, first + page)]
        found = await _last_of_each(publisher, filters, timeout)
        if not found:
            return messages
        messages += found
        first = _last_version(found[-1]) + 1
        page = PAGE


async def _last_of_each(
    publisher: Publisher, filters: Sequence[str], timeout: float
) -> list[StoredMessage] | None:
    """The last message on each subject that matches, in order; None when they are too many for one answer."""
    found: list[StoredMessage] = []
    request: dict[str, object] = {"multi_last": filters}
    while True:
        answers = await publisher.request_many(DIRECT_GET, orjson.dumps(request), timeout)
        *messages, end = answers
        if end.status == NOT_FOUND:
            return found
        if end.status == TOO_MANY:
            return None
        if end.status != END:
            raise BrokerError(f"{DIRECT_GET}: {end.header.decode('utf-8', 'replace').strip()}")
        found += [_stored(message) for message in messages]
        left = int(end.headers["Nats-Num-Pending"])
        if not left:
            return found
        # The server ends an answer by its size, too. The rest is asked for as of the same moment.
        if not messages:
            raise NoAnswer(f"{DIRECT_GET}: {left} messages are left, and none came")
        request = {
            "multi_last": filters,
            "seq": found[-1].sequence + 1,
            "up_to_seq": int(end.headers["Nats-UpTo-Sequence"]),
        }


def _stored(message: Message) -> StoredMessage:
    match = _PLACE.search(message.header)
    assert match is not None, message.header
    return StoredMessage(int(match[2]), match[1].decode(), message.data)


def _last_version(message: StoredMessage) -> int:
    return int(message.subject.split(".")[3]) + len(orjson.loads(message.data)["events"]) - 1


# Written by the server behind the headers that the writer gave, so the last match counts; it is the only
# one because a writer of JOURNAL gives none of these.
_PLACE = re.compile(rb"\r\nNats-Subject: (\S+)\r\nNats-Sequence: (\d+)\r\n")
