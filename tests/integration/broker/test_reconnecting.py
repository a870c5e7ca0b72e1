"""A connection that was made once comes back for ever, whatever the broker says meanwhile."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import urlparse

import pytest
from nats.aio.client import Server

from shared.broker.connection import LONGEST_WAIT_SECONDS, Connection, _next_server
from tests.support.nats import NatsServer


def _resolve(heard: "asyncio.Future[None]", *message: bytes) -> None:
    if not heard.done():
        heard.set_result(None)


async def until_it_echoes(connection: Connection) -> None:
    async with asyncio.timeout(60):
        while True:
            heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if connection.is_connected:
                sid = await connection.listen("_INBOX.echo", partial(_resolve, heard))
                connection.write(b"PUB _INBOX.echo 0\r\n\r\n")
                try:
                    return await asyncio.wait_for(heard, 1)
                except TimeoutError:
                    await connection.unlisten(sid)
            await asyncio.sleep(0.05)


async def test_a_user_whose_password_was_changed_and_changed_back_is_connected_again(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    server = nats_server.server
    config = server.config.read_text()
    connection = await nats_server.connect()
    for _ in range(3):
        assert server.pid is not None
        caplog.clear()
        server.config.write_text(config.replace(server.password, "another"))
        os.kill(server.pid, signal.SIGHUP)
        async with asyncio.timeout(30):
            while "not connected to the broker: nats: 'Authorization Violation'" not in caplog.text:
                await asyncio.sleep(0.02)
        server.config.write_text(config)
        os.kill(server.pid, signal.SIGHUP)
        await until_it_echoes(connection)


@asynccontextmanager
async def stranger(port: int, says: bytes) -> AsyncIterator[asyncio.Event]:
    """Somebody else on the broker's port; the event is set once two calls were answered."""
    met = asyncio.Event()
    calls = 0

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        writer.write(says)
        await writer.drain()
        if calls == 2:
            met.set()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port)
    try:
        yield met
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("says", [b"INFO " + b"x" * 200_000, b"INFO {}{}\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
async def test_an_answer_that_no_broker_gives_does_not_end_the_attempts(
    nats_server: NatsServer, says: bytes
) -> None:
    connection = await nats_server.connect()
    port = urlparse(nats_server.url).port
    assert port
    nats_server.server.kill()
    async with stranger(port, says) as met:
        await asyncio.wait_for(met.wait(), 10)
    nats_server.server.start()
    await until_it_echoes(connection)


def test_the_waits_grow_to_the_longest_and_the_server_that_failed_least_is_next() -> None:
    near, far = urlparse("nats://near:4222"), urlparse("nats://far:4222")
    seen = []
    for failures in (0, 1, 2, 3, 10, 100_000):
        server, wait = _next_server(0.1, [Server(near, failures + 1), Server(far, failures)], {})
        assert server.uri == far
        seen.append(wait)
    assert all(
        at_most / 2 <= wait <= at_most
        for wait, at_most in zip(seen, (0.1, 0.2, 0.4, 0.8, 2.0, LONGEST_WAIT_SECONDS), strict=True)
    )
