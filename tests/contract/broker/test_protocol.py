"""The parser takes the protocol in any pieces."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.errors import ProtocolError

from shared.broker.messages import Message
from shared.broker.protocol import SinkParser

HEADER = b"NATS/1.0 503\r\nName: value\r\n\r\n"


class RecordingClient:
    """Stands in for the client library: notes what is left to it."""

    def __init__(self) -> None:
        self.stats = {"in_msgs": 0, "in_bytes": 0}
        self.seen: list[Any] = []

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, header: bytes) -> None:
        self.seen.append(("msg", sid, subject, reply, header, data))

    async def _process_ping(self) -> None:
        self.seen.append("ping")

    async def _process_pong(self) -> None:
        self.seen.append("pong")

    async def _process_err(self, text: str) -> None:
        self.seen.append(text)

    async def _process_info(self, info: dict[str, Any]) -> None:
        self.seen.append(info)


STREAM = (
    b"MSG a.b 1 3\r\nabc\r\n"
    b"PING\r\n"
    b"MSG a.b 1 reply.to 2\r\n\r\n\r\n"
    b"MSG c 2 5\r\nother\r\n"
    b"HMSG c 2 r %d %d\r\n%bxy\r\n"
    b"-ERR 'Some Problem'\r\n"
    b"HMSG a.b 1 %d %d\r\n%b\r\n"
    b"PONG\r\n"
    b"+OK\r\n"
    b'INFO {"version":"2"}\r\n'
    b"MSG a.b 1 r 19\r\nMSG a.b 1 3\r\nPING\r\n\r\n"
    b"MSG a.b 1 0\r\n\r\n"
) % (len(HEADER), len(HEADER) + 2, HEADER, len(HEADER), len(HEADER), HEADER)


def parse(pieces: list[bytes]) -> tuple[list[Any], list[Any]]:
    sunk: list[Any] = []
    client = RecordingClient()
    parser = SinkParser(client, {b"1": lambda *message: sunk.append(message)})

    async def run() -> None:
        for piece in pieces:
            await parser.parse(piece)

    asyncio.run(run())
    assert client.stats["in_msgs"] == len(sunk)
    return sunk, client.seen


EXPECTED = parse([STREAM])


def test_messages_go_to_their_sink_and_all_else_to_the_library() -> None:
    sunk, seen = EXPECTED
    assert sunk == [
        (b"a.b", b"", b"", b"abc"),
        (b"a.b", b"reply.to", b"", b"\r\n"),
        (b"a.b", b"", HEADER, b""),
        (b"a.b", b"r", b"", b"MSG a.b 1 3\r\nPING\r\n"),
        (b"a.b", b"", b"", b""),
    ]
    assert seen == [
        "ping",
        ("msg", 2, b"c", b"", None, b"other"),
        ("msg", 2, b"c", b"r", HEADER, b"xy"),
        "'some problem'",
        "pong",
        {"version": "2"},
    ]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_the_pieces_make_no_difference(cuts: list[int]) -> None:
    bounds = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in pairwise(bounds)]
    assert parse(pieces) == EXPECTED


def test_byte_by_byte_makes_no_difference() -> None:
    assert parse([bytes([byte]) for byte in STREAM]) == EXPECTED


def test_what_is_not_the_protocol_is_an_error() -> None:
    with pytest.raises(ProtocolError):
        parse([b"HTTP/1.1 400 Bad Request\r\n"])


def test_an_error_in_a_sink_does_not_end_the_reading(caplog: pytest.LogCaptureFixture) -> None:
    client, sunk = RecordingClient(), []

    def sink(subject: bytes, _reply: bytes, _header: bytes, data: bytes) -> None:
        if data == b"bad":
            raise RuntimeError("broken sink")
        sunk.append(data)

    parser = SinkParser(client, {b"1": sink})
    asyncio.run(parser.parse(b"MSG a 1 3\r\nbad\r\nMSG a 1 4\r\ngood\r\n"))
    assert sunk == [b"good"]
    assert "broken sink" in caplog.text


def test_status_and_headers_of_a_message() -> None:
    message = Message("a", "", b"", HEADER)
    assert message.status == 503
    assert message.headers == {"Name": "value"}
    assert Message("a", "", b"x").status == 0
    assert Message("a", "", b"x", b"NATS/1.0\r\nA: 1\r\n\r\n").status == 0


@pytest.mark.parametrize(
    "reply",
    [
        "$JS.ACK.JOURNAL.c.2.17.9.1763697600123456789.5",
        "$JS.ACK.dom.acc.JOURNAL.c.2.17.9.1763697600123456789.5.x",
    ],
)
def test_a_delivery_is_read_from_the_reply_subject(reply: str) -> None:
    assert Message("s", reply, b"").delivery == ("c", 2, 17, 9, 1763697600123456, 5)


def test_a_message_that_no_consumer_sent_has_no_delivery() -> None:
    with pytest.raises(ValueError, match="not a consumer's"):
        _ = Message("s", "_INBOX.x", b"").delivery
