"""Atomic batches: several messages that the stream takes together or not at all.

The messages carry a batch id and a number; the last one commits and is the only one answered. The stream
must allow it (`allow_atomic`); at most 1,000 messages a batch (nats-architecture-and-design, ADR-50).
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from shared.broker.errors import Refused
from shared.broker.messages import Message
from shared.broker.publisher import Outgoing, Publisher

WRONG_LAST_SEQUENCE = frozenset({10071, 10164})
"""The err_codes by which a stream refuses an expected last sequence."""
MOST_MESSAGES = 1000


class Stored(NamedTuple):
    """Where a stream put what was published: `sequence` is that of the last message."""

    sequence: int
    duplicate: bool


class Key(NamedTuple):
    """A message for the stream, stored only if nothing is stored yet under the filter `unique`."""

    subject: bytes
    data: bytes
    unique: bytes | None


def publish_unique(
    publisher: Publisher, message: Key, timeout: float | None = None
) -> "asyncio.Future[Message]":
    """Publish one message. The answer is for `stored`."""
    return publisher.request_in_order(single(message), timeout)


def publish_batch(
    publisher: Publisher, batch_id: bytes, messages: Sequence[Key], timeout: float | None = None
) -> "asyncio.Future[Message]":
    """Publish all messages in one atomic batch and one write. The answer is for `stored`."""
    return publisher.request_in_order(batch(batch_id, messages), timeout)


def single(message: Key) -> list[Outgoing]:
    """One message as it is sent."""
    unique = message.unique
    header = b"" if unique is None else b"NATS/1.0\r\n" + _expectation(unique) + b"\r\n"
    return [Outgoing(message.subject, message.data, header)]


def batch(batch_id: bytes, messages: Sequence[Key]) -> list[Outgoing]:
    """An atomic batch as it is sent.

    The server checks each expectation against what is stored, not against the rest of the batch, so the
    caller must not put the same unique filter into a batch twice.
    """
    last = len(messages)
    assert 0 < last <= MOST_MESSAGES
    lines = []
    for number, message in enumerate(messages, 1):
        header = b"NATS/1.0\r\nNats-Batch-Id:%b\r\nNats-Batch-Sequence:%d\r\n%b%b\r\n" % (
            batch_id,
            number,
            b"" if message.unique is None else _expectation(message.unique),
            b"Nats-Batch-Commit:1\r\n" if number == last else b"",
        )
        lines.append(Outgoing(message.subject, message.data, header))
    return lines


def stored(message: Message) -> Stored:
    """What a stream's answer says. Raises Refused, with a code of WRONG_LAST_SEQUENCE for a lost race."""
    answer = _answer(message.data)
    if answer.error is not None:
        raise Refused(answer.stream, answer.error.err_code, answer.error.description)
    return Stored(answer.seq, answer.duplicate)


class _Error(msgspec.Struct):
    err_code: int = 0
    description: str = ""


class _Answer(msgspec.Struct):
    """What a stream says of a publish (PubAck)."""

    seq: int = 0
    stream: str = ""
    duplicate: bool = False
    error: _Error | None = None


_answer = msgspec.json.Decoder(_Answer).decode


def _expectation(unique: bytes) -> bytes:
    return (
        b"Nats-Expected-Last-Subject-Sequence:0\r\nNats-Expected-Last-Subject-Sequence-Subject:%b\r\n"
        % unique
    )
