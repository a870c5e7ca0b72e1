"""Requests and publishes over a real server."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.broker.batches import Key, publish_batch, publish_unique, stored
from shared.broker.connection import connect, disconnect
from shared.broker.errors import NoAnswer, NoResponders, NotSent, Refused
from shared.broker.publisher import Outgoing, Publisher
from shared.broker.source import SubjectSource
from tests.support.nats import NatsServer, settle
from tests.support.proxy import Proxy

pytestmark = pytest.mark.connected


@pytest.fixture
async def publisher(nats_server: NatsServer) -> Publisher:
    return await Publisher.start(await nats_server.connect(), timeout=2.0)


@pytest.fixture
async def proxy(nats_server: NatsServer) -> AsyncIterator[Proxy]:
    async with Proxy.to("127.0.0.1", nats_server.server.port) as proxy:
        yield proxy


async def echo(nats_server: NatsServer) -> None:
    """Answer what comes on `echo` with itself."""
    source = await SubjectSource.open(await nats_server.connect("echo"), "echo")
    answers = await Publisher.start(await nats_server.connect("answers"))

    async def run() -> None:
        async for batch in source.batches():
            for message in batch:
                answers.publish(message.reply, message.data, message.header)

    task = asyncio.ensure_future(run())
    echoes.add(task)
    task.add_done_callback(echoes.discard)


echoes: set[asyncio.Task[None]] = set()


async def test_each_of_a_thousand_requests_gets_its_own_answer(
    nats_server: NatsServer, publisher: Publisher
) -> None:
    await echo(nats_server)
    futures = [publisher.request("echo", b"%d" % number) for number in range(1000)]
    answers = await asyncio.gather(*futures)
    assert [int(answer.data) for answer in answers] == list(range(1000))
    assert publisher.in_flight == 0


async def test_headers_arrive(nats_server: NatsServer, publisher: Publisher) -> None:
    await echo(nats_server)
    answer = await publisher.request("echo", b"x", b"NATS/1.0\r\nA: 1\r\n\r\n")
    assert (answer.headers, answer.data) == ({"A": "1"}, b"x")


async def test_a_request_that_nobody_listens_to_is_told_so(publisher: Publisher) -> None:
    with pytest.raises(NoResponders):
        await publisher.request("nobody")


async def test_a_request_without_an_answer_ends_at_its_time_out(
    nats_server: NatsServer, publisher: Publisher
) -> None:
    await SubjectSource.open(await nats_server.connect(), "silent")
    ended: list[str] = []
    patient = publisher.request("silent", timeout=3600)
    slow = publisher.request("silent", timeout=0.6)
    quick = publisher.request("silent", timeout=0.1)
    slow.add_done_callback(lambda _: ended.append("slow"))
    quick.add_done_callback(lambda _: ended.append("quick"))
    async with asyncio.timeout(30):
        for request in (slow, quick):
            with pytest.raises(NoAnswer):
                await request
    assert ended == ["quick", "slow"]
    assert not patient.done()
    patient.cancel()


async def test_requests_wait_for_the_line_and_go_out_when_it_is_back(
    nats_server: NatsServer, proxy: Proxy
) -> None:
    await echo(nats_server)
    connection = await connect(proxy.url, name="cut", user="daybook", password=nats_server.password)
    publisher = await Publisher.start(connection)
    proxy.down = True
    await proxy.cut()
    async with asyncio.timeout(30):
        while connection.is_connected:
            await asyncio.sleep(0.01)
    waiting = publisher.request("echo", b"later", timeout=10)
    late = publisher.request("echo", b"too late", timeout=0.1)
    with pytest.raises(NotSent):
        await late
    proxy.down = False
    assert (await waiting).data == b"later"
    await disconnect(connection)


async def test_what_was_sent_fails_at_once_when_the_line_breaks(
    nats_server: NatsServer, proxy: Proxy
) -> None:
    await SubjectSource.open(await nats_server.connect(), "silent")
    connection = await connect(proxy.url, name="cut", user="daybook", password=nats_server.password)
    publisher = await Publisher.start(connection)
    waiting = publisher.request("silent", timeout=60)
    await settle(publisher)
    await proxy.cut()
    async with asyncio.timeout(30):
        with pytest.raises(NoAnswer):
            await waiting
    await disconnect(connection)


async def test_a_stopped_publisher_leaves_nobody_waiting(
    nats_server: NatsServer, publisher: Publisher
) -> None:
    await SubjectSource.open(await nats_server.connect(), "silent")
    waiting = publisher.request("silent")
    await publisher.stop()
    with pytest.raises(NoAnswer):
        await waiting


async def test_messages_of_one_call_arrive_in_order(nats_server: NatsServer, publisher: Publisher) -> None:
    source = await SubjectSource.open(await nats_server.connect(), "order.*")
    publisher.publish("order.0")
    future = publisher.request_in_order([Outgoing(b"order.1", b""), Outgoing(b"order.2", b"")])
    publisher.publish("order.3")
    seen: list[str] = []
    async for batch in source.batches():
        seen += [message.subject for message in batch]
        if len(seen) == 4:
            break
    assert seen == ["order.0", "order.1", "order.2", "order.3"]
    future.cancel()


async def test_an_atomic_batch_is_stored_whole(publisher: Publisher) -> None:
    keys = [Key(b"journal.t.x.%d.note" % n, b"{}", b"journal.t.x.%d.>" % n) for n in range(1, 4)]
    answer = stored(await publish_batch(publisher, b"one", keys))
    assert answer.sequence == 3
    with pytest.raises(Refused) as caught:
        stored(await publish_unique(publisher, keys[1]))
    assert caught.value.code == 10071
    fresh = Key(b"journal.t.x.4.note", b"{}", b"journal.t.x.4.>")
    with pytest.raises(Refused):
        stored(await publish_batch(publisher, b"two", [fresh, keys[0]]))
    assert stored(await publish_unique(publisher, fresh)).sequence == 4
