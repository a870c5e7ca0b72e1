"""FastStream handlers are called once for each natural batch."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import pytest
from faststream import Context, Depends
from faststream.middlewares import BaseMiddleware
from faststream.specification import AsyncAPI

from shared.application.ids import new_id
from shared.broker.faststream import Batch, StreamBroker
from shared.broker.publisher import Publisher
from shared.broker.streams import declare_consumer
from shared.broker.subjects import commit_subject, skill_consumer, skill_filter
from tests.support.nats import NatsServer, settle

pytestmark = pytest.mark.connected


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_handler_gets_whatever_came(nats_server: NatsServer) -> None:
    publisher = await Publisher.start(await nats_server.connect())
    connection = await nats_server.connect()
    broker = StreamBroker(connection)
    batches: list[list[bytes]] = []
    go_on = asyncio.Event()

    @broker.subject_batches("report.*", queue="dispatcher")
    async def on_reports(batch: Batch) -> None:
        batches.append([message.data for message in batch])
        await go_on.wait()

    await broker.start()
    publisher.publish("report.a", b"first")
    await until(lambda: bool(batches))
    for number in range(50):
        publisher.publish("report.b", b"%d" % number)
    await settle(publisher)
    await connection.settle()
    go_on.set()
    await until(lambda: sum(map(len, batches)) == 51)
    await broker.stop()

    assert batches == [[b"first"], [b"%d" % number for number in range(50)]]


async def test_a_handler_of_a_queue_acks_itself(nats_server: NatsServer) -> None:
    connection = await nats_server.connect()
    publisher = await Publisher.start(connection)
    await declare_consumer(
        connection,
        "JOURNAL",
        {
            "durable_name": skill_consumer("resize"),
            "filter_subject": skill_filter("resize"),
            "ack_policy": "explicit",
        },
    )
    broker = StreamBroker(connection)
    seen: list[int] = []

    @broker.consumer_batches("JOURNAL", skill_consumer("resize"), skill_filter("resize"))
    async def on_tasks(batch: Batch) -> None:
        for message in batch:
            seen.append(message.delivery.sequence)
            publisher.publish(message.reply, b"+ACK")

    await broker.start()
    await asyncio.gather(
        *(publisher.request(commit_subject("job", new_id(), 1, "resize"), b"{}") for _ in range(20))
    )
    await until(lambda: len(seen) == 20)
    await broker.stop()

    assert seen == list(range(1, 21))
    assert connection.is_connected, "the connection is not the broker's to close"


async def test_injection_and_middleware_work(nats_server: NatsServer) -> None:
    publisher = await Publisher.start(await nats_server.connect())
    calls: list[str] = []

    class Noting(BaseMiddleware):
        async def consume_scope(self, call_next: Callable[[Any], Awaitable[Any]], msg: Any) -> Any:
            calls.append("middleware")
            return await call_next(msg)

    def desk() -> str:
        return "the desk"

    broker = StreamBroker(await nats_server.connect(), middlewares=[Noting])

    @broker.subject_batches("report.*")
    async def on_reports(
        batch: Batch, desk: Annotated[str, Depends(desk)], message: Annotated[Any, Context()]
    ) -> None:
        assert message.raw_message is batch
        calls.append(desk)

    await broker.start()
    publisher.publish("report.a")
    await until(lambda: len(calls) == 2)
    await broker.stop()
    assert calls == ["middleware", "the desk"]


async def test_an_error_in_a_handler_does_not_end_the_batches(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = await Publisher.start(await nats_server.connect())
    broker = StreamBroker(await nats_server.connect())
    seen: list[bytes] = []

    @broker.subject_batches("report.*")
    async def on_reports(batch: Batch) -> None:
        for message in batch:
            if message.data == b"bad":
                raise RuntimeError("broken handler")
            seen.append(message.data)

    await broker.start()
    publisher.publish("report.a", b"bad")
    await until(lambda: "broken handler" in caplog.text)
    publisher.publish("report.a", b"good")
    await until(lambda: seen == [b"good"])
    await broker.stop()


async def test_subjects_stand_in_the_asyncapi_document(nats_server: NatsServer) -> None:
    broker = StreamBroker(await nats_server.connect())

    @broker.subject_batches("report.*", queue="dispatcher", title="Reports", description="What workers say.")
    async def on_reports(batch: Batch) -> None: ...

    document = AsyncAPI(broker).to_specification().to_jsonable()
    (channel,) = document["channels"].values()
    assert channel["address"] == "report.*"
    assert channel["bindings"]["nats"]["queue"] == "dispatcher"
