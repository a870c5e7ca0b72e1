"""Natural batches from subjects and from consumers of a real server."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from shared.application.ids import new_id
from shared.broker.connection import Connection
from shared.broker.messages import Message
from shared.broker.publisher import Publisher
from shared.broker.pulls import GATHERED_LATE, PullSource
from shared.broker.source import SubjectSource
from shared.broker.streams import api, declare_consumer
from shared.broker.subjects import commit_subject, skill_consumer, skill_filter
from tests.support.nats import NatsServer, settle

pytestmark = pytest.mark.connected

GATHER = (0.0, 0.01)


async def take(batches: AsyncIterator[list[Message]], number: int) -> list[Message]:
    messages: list[Message] = []
    async with asyncio.timeout(60):
        while len(messages) < number:
            messages += await anext(batches)
    assert len(messages) == number
    return messages


@pytest.fixture
async def publisher(nats_server: NatsServer) -> Publisher:
    return await Publisher.start(await nats_server.connect("publisher"), timeout=60)


async def release(publisher: Publisher, skill: str, number: int) -> list[UUID]:
    ids = [new_id() for _ in range(number)]
    await asyncio.gather(
        *(publisher.request(commit_subject("job", id, 1, skill), b"%d" % n) for n, id in enumerate(ids))  # noqa: A001
    )
    return ids


async def queue(nats_server: NatsServer, skill: str, **settings: object) -> str:
    connection = await nats_server.connect("declare")
    settings = {"ack_policy": "explicit", "filter_subject": skill_filter(skill), **settings}
    await declare_consumer(connection, "JOURNAL", {"durable_name": skill_consumer(skill), **settings})
    return skill_consumer(skill)


async def test_what_came_while_a_batch_was_handled_is_the_next_batch(
    nats_server: NatsServer, publisher: Publisher
) -> None:
    source = await SubjectSource.open(await nats_server.connect(), "news.*")
    batches = source.batches()
    publisher.publish("news.1", b"one")
    assert [message.data for message in await anext(batches)] == [b"one"]
    for number in range(100):
        publisher.publish("news.2", b"%d" % number)
    async with asyncio.timeout(30):
        while source.waiting < 100:
            await asyncio.sleep(0.001)
    assert [int(message.data) for message in await anext(batches)] == list(range(100))


async def test_a_batch_is_never_larger_than_asked_for(nats_server: NatsServer, publisher: Publisher) -> None:
    source = await SubjectSource.open(await nats_server.connect(), "news", largest=10)
    for _ in range(25):
        publisher.publish("news")
    async with asyncio.timeout(30):
        while source.waiting < 25:
            await asyncio.sleep(0.001)
    batches = source.batches()
    assert [len(await anext(batches)) for _ in range(3)] == [10, 10, 5]


async def test_the_server_knows_a_source_that_is_open(nats_server: NatsServer) -> None:
    receiver, sender = await nats_server.connect(), await nats_server.connect()
    for number in range(200):
        source = await SubjectSource.open(receiver, f"news.{number}")
        sender.write(b"PUB news.%d 2\r\nhi\r\n" % number)
        assert len(await take(source.batches(), 1)) == 1
        await source.stop()


async def test_a_group_shares_the_messages(nats_server: NatsServer, publisher: Publisher) -> None:
    one = await SubjectSource.open(await nats_server.connect(), "news", queue="group")
    two = await SubjectSource.open(await nats_server.connect(), "news", queue="group")
    for _ in range(200):
        publisher.publish("news")
    async with asyncio.timeout(30):
        while one.waiting + two.waiting < 200:
            await asyncio.sleep(0.001)
    assert one.waiting > 0
    assert two.waiting > 0


async def test_a_flooded_source_drops_and_says_so_once(
    nats_server: NatsServer, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    connection = await nats_server.connect()
    source = await SubjectSource.open(connection, "news", most_waiting=10)
    for _ in range(30):
        publisher.publish("news")
    await settle(publisher)
    await connection.settle()
    assert source.waiting == 10
    assert caplog.text.count("dropping new ones") == 1


async def test_a_stopped_source_gives_what_it_has_and_ends(
    nats_server: NatsServer, publisher: Publisher
) -> None:
    connection = await nats_server.connect()
    source = await SubjectSource.open(connection, "news")
    publisher.publish("news", b"last")
    async with asyncio.timeout(30):
        while not source.waiting:
            await asyncio.sleep(0.001)
    await source.stop()
    assert [[m.data for m in batch] async for batch in source.batches()] == [[b"last"]]


async def test_a_core_source_goes_on_after_a_restart(nats_server: NatsServer, publisher: Publisher) -> None:
    connection = await nats_server.connect()
    source = await SubjectSource.open(connection, "news")
    batches = source.batches()
    await nats_server.restart()
    async with asyncio.timeout(30):
        while not source.waiting:
            publisher.publish("news", b"again")
            await asyncio.sleep(0.01)
    assert (await anext(batches))[0].data == b"again"


@pytest.mark.parametrize("gather", GATHER)
async def test_a_pull_source_gives_every_message_of_its_queue(
    nats_server: NatsServer, publisher: Publisher, gather: float
) -> None:
    consumer = await queue(nats_server, "resize")
    connection = await nats_server.connect()
    source = await PullSource.open(connection, "JOURNAL", consumer, window=64, gather=gather)
    batches = source.batches()
    await release(publisher, "other", 3)
    await release(publisher, "resize", 1000)
    messages = await take(batches, 1000)
    assert sorted(int(message.data) for message in messages) == list(range(1000))
    assert {message.delivery.delivered for message in messages} == {1}
    assert max(message.delivery.sequence for message in messages) == 1003


async def test_no_more_is_asked_for_than_the_window(nats_server: NatsServer, publisher: Publisher) -> None:
    consumer = await queue(nats_server, "resize")
    connection = await nats_server.connect()
    source = await PullSource.open(connection, "JOURNAL", consumer, window=10)
    await release(publisher, "resize", 50)
    async with asyncio.timeout(30):
        while source.waiting < 10:
            await asyncio.sleep(0.001)
    for _ in range(5):
        source.ask()
    await connection.settle()
    info = await api(connection, f"CONSUMER.INFO.JOURNAL.{consumer}")
    assert (source.waiting, info["num_pending"]) == (10, 40)
    assert len(await take(source.batches(), 50)) == 50


async def test_a_pull_source_without_a_window_asks_for_nothing(
    nats_server: NatsServer, publisher: Publisher
) -> None:
    consumer = await queue(nats_server, "resize")
    connection = await nats_server.connect()
    source = await PullSource.open(connection, "JOURNAL", consumer, window=0)
    await release(publisher, "resize", 5)
    assert (await api(connection, f"CONSUMER.INFO.JOURNAL.{consumer}"))["num_pending"] == 5
    source.window = 2
    source.ask()
    assert len(await take(source.batches(), 2)) == 2


@pytest.mark.parametrize("gather", GATHER)
async def test_pulls_are_asked_for_again_when_they_expire(
    nats_server: NatsServer, publisher: Publisher, gather: float
) -> None:
    consumer = await queue(nats_server, "resize")
    connection = await nats_server.connect()
    # A pull lives 0.6 s.
    source = await PullSource.open(connection, "JOURNAL", consumer, heartbeat=0.1, gather=gather)
    for _ in range(5):
        await asyncio.sleep(0.3)
        await release(publisher, "resize", 3)
        assert len(await take(source.batches(), 3)) == 3
    async with asyncio.timeout(30):  # one that a late heartbeat had repeated has to expire first
        while (await api(connection, f"CONSUMER.INFO.JOURNAL.{consumer}"))["num_waiting"] > 2:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("gather", GATHER)
async def test_pulls_are_asked_for_again_after_a_restart(
    nats_server: NatsServer, publisher: Publisher, gather: float
) -> None:
    consumer = await queue(nats_server, "resize")
    # Silence would not show it before two minutes.
    source = await PullSource.open(
        await nats_server.connect(), "JOURNAL", consumer, heartbeat=60, gather=gather
    )
    batches = source.batches()
    await release(publisher, "resize", 3)
    await take(batches, 3)
    await nats_server.restart()
    await release(publisher, "resize", 3)
    fresh: set[bytes] = set()
    async with asyncio.timeout(40):
        while len(fresh) < 3:  # what was not acked may come a second time
            fresh |= {
                message.subject.encode() for message in await anext(batches) if message.delivery.sequence > 3
            }


@pytest.mark.parametrize("gather", GATHER)
async def test_pulls_are_asked_for_again_when_the_queue_appears_late(
    nats_server: NatsServer, publisher: Publisher, gather: float
) -> None:
    connection = await nats_server.connect()
    source = await PullSource.open(connection, "JOURNAL", skill_consumer("late"), gather=gather)
    await release(publisher, "late", 2)
    await queue(nats_server, "late")
    assert len(await take(source.batches(), 2)) == 2


async def test_who_gathers_asks_seldom_for_what_comes_fast(
    nats_server: NatsServer, publisher: Publisher
) -> None:
    consumer = await queue(nats_server, "resize")
    connection = await nats_server.connect()
    pulls = counted_pulls(connection)
    began = asyncio.get_running_loop().time()
    source = await PullSource.open(connection, "JOURNAL", consumer, gather=0.05)
    batches = source.batches()
    for _ in range(100):
        await release(publisher, "resize", 2)
        if source.waiting:
            await anext(batches)
    lasted = asyncio.get_running_loop().time() - began
    assert len(pulls) <= GATHERED_LATE + 1 + lasted / 0.05


async def test_who_gathers_does_not_wait_after_a_rest(nats_server: NatsServer, publisher: Publisher) -> None:
    consumer = await queue(nats_server, "resize")
    connection = await nats_server.connect()
    source = await PullSource.open(connection, "JOURNAL", consumer, gather=3600.0)  # a pause would last
    for _ in range(GATHERED_LATE - 1):
        await release(publisher, "resize", 1)
        await take(source.batches(), 1)


def counted_pulls(connection: Connection) -> list[bytes]:
    """What the connection asks consumers for, from now on."""
    pulls: list[bytes] = []
    write = connection.write

    def counting(lines: bytes) -> bool:
        if b"CONSUMER.MSG.NEXT" in lines:
            pulls.append(lines)
        return write(lines)

    connection.write = counting  # type: ignore[method-assign]
    return pulls
