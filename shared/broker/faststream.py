"""FastStream over our connection: its injection, middleware and AsyncAPI, fed in natural batches.

    broker = StreamBroker(connection)

    @broker.subject_batches("report.*", queue="dispatcher")
    async def on_reports(batch: Batch) -> None: ...

    await broker.start()

As shipped, FastStream's batch subscriber waits for a full batch or a time-out, and a handler per message
costs 141 µs. Here a handler is called once with whatever came, and the messages are handed over as they
are: nothing is decoded or validated that the handler does not ask for.
"""

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Annotated, Any, TypeAlias, cast

from faststream import AckPolicy
from faststream._internal.broker import BrokerUsecase
from faststream._internal.broker.registrator import Registrator
from faststream._internal.endpoint.subscriber.call_item import CallsCollection
from faststream._internal.endpoint.subscriber.mixins import TasksMixin
from faststream.message import StreamMessage
from faststream.nats import NatsBroker
from faststream.nats.configs import NatsBrokerConfig
from faststream.nats.message import NatsMessage
from faststream.nats.subscriber.config import NatsSubscriberConfig, NatsSubscriberSpecificationConfig
from faststream.nats.subscriber.specification import NatsSubscriberSpecification
from faststream.nats.subscriber.usecases.basic import DefaultSubscriber
from nats.aio.client import Client
from nats.js.api import ConsumerConfig
from pydantic import SkipValidation

from shared.broker.connection import Connection
from shared.broker.messages import Message
from shared.broker.pulls import PullSource
from shared.broker.source import SubjectSource

Batch: TypeAlias = Annotated[list[Message], SkipValidation]
"""What a handler takes: the messages as they came."""
BatchSource: TypeAlias = SubjectSource | PullSource
BareHandler: TypeAlias = Callable[[list[Message]], Awaitable[None]]
Opener: TypeAlias = Callable[[Connection], Awaitable[BatchSource]]

log = logging.getLogger(__name__)


class StreamBroker(NatsBroker):
    """A broker of FastStream on a connection that is there already, and stays open when this stops."""

    def __init__(self, connection: Connection, **options: Any) -> None:
        """`options` are those of NatsBroker: `middlewares`, `dependencies`, …

        `serializer=None` injects without a validating model (some 10 µs a batch cheaper), and without it
        there is no AsyncAPI document.
        """
        super().__init__(logger=logging.getLogger("faststream"), log_level=logging.DEBUG, **options)
        self._given = connection

    def subject_batches(
        self, subject: str, *, queue: str = "", largest: int = 1024, **about: Any
    ) -> "BatchSubscriber":
        """Decorate a handler of a core subject. `about` is `title` and `description` for AsyncAPI."""

        async def open_source(connection: Connection) -> BatchSource:
            return await SubjectSource.open(connection, subject, queue=queue, largest=largest)

        return self._add(subject, queue, open_source, about)

    def consumer_batches(
        self, stream: str, consumer: str, subject: str, *, window: int = 512, **about: Any
    ) -> "BatchSubscriber":
        """Decorate a handler of a consumer that exists; `subject` is what it filters on, for AsyncAPI.

        The handler acks: nothing is acked for it.
        """

        async def open_source(connection: Connection) -> BatchSource:
            return await PullSource.open(connection, stream, consumer, window=window)

        return self._add(subject, consumer, open_source, about)

    async def stop(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> None:
        """Let the handlers end; the connection is its owner's to close."""
        await BrokerUsecase.stop(self, exc_type, exc_val, exc_tb)
        self._connection = None
        self.config.disconnect()

    async def _connect(self) -> Client:
        self.config.connect(self._given)
        return self._given

    def _add(self, subject: str, queue: str, open_source: Opener, about: dict[str, Any]) -> "BatchSubscriber":
        config = cast("NatsBrokerConfig", self.config)
        calls: CallsCollection[Batch] = CallsCollection()
        subscriber = BatchSubscriber(
            NatsSubscriberConfig(
                subject=subject,
                sub_config=ConsumerConfig(filter_subjects=[]),
                extra_options={},
                no_reply=True,
                _outer_config=config,
                _ack_policy=AckPolicy.MANUAL,
            ),
            NatsSubscriberSpecification(
                _outer_config=config,
                calls=calls,
                specification_config=NatsSubscriberSpecificationConfig(
                    subject=subject,
                    queue=queue or None,
                    title_=about.get("title"),
                    description_=about.get("description"),
                    include_in_schema=True,
                ),
            ),
            calls,
            open_source,
        )
        Registrator.subscriber(cast("Registrator[Any, Any]", self), subscriber)
        return subscriber


class BatchSubscriber(TasksMixin, DefaultSubscriber[Batch]):
    """Calls its handler once for each natural batch."""

    def __init__(
        self,
        config: NatsSubscriberConfig,
        specification: NatsSubscriberSpecification,
        calls: CallsCollection[Batch],
        open_source: Opener,
    ) -> None:
        config.parser = _parse
        config.decoder = _decode
        super().__init__(config, specification, calls)
        self._open_source = open_source

    async def get_one(self, *, timeout: float = 5) -> NatsMessage | None:
        raise NotImplementedError("batches are handled, not fetched one by one")

    def __aiter__(self) -> AsyncIterator[NatsMessage]:
        raise NotImplementedError("batches are handled, not iterated over")

    async def _create_subscription(self) -> None:
        source = await self._open_source(cast("Connection", self.connection))
        self.subscription = _Subscription(source)
        self.add_task(self._consume, (source,), restart_on_failure=False)

    async def _consume(self, source: BatchSource) -> None:
        handler = self._bare_handler()
        async for batch in source.batches():
            if handler is None:
                await self.consume(batch)
            else:
                await self._hand_over(handler, batch)

    def _bare_handler(self) -> BareHandler | None:
        """The handler itself, when nothing was asked to happen around it: no middleware, nothing injected.

        What the library does around a call costs 250 µs, as much as deciding two reports.
        """
        about = self._outer_config
        if about.broker_middlewares or about.broker_dependencies:
            return None
        call = self.calls[0]
        # The library tells these two to nobody else.
        if len(self.calls) != 1 or call.dependencies or call.handler._publishers:  # noqa: SLF001
            return None
        handler = cast("BareHandler", call.handler._original_call)  # noqa: SLF001
        return handler if len(inspect.signature(handler).parameters) == 1 else None

    async def _hand_over(self, handler: BareHandler, batch: list[Message]) -> None:
        with self.lock:  # a stop waits for it
            try:
                await handler(batch)
            except Exception:
                log.exception("a batch of %d messages was not handled", len(batch))


class _Subscription:
    """A source as FastStream ends it."""

    def __init__(self, source: BatchSource) -> None:
        self._source = source

    async def unsubscribe(self) -> None:
        await self._source.stop()


async def _parse(batch: Batch) -> StreamMessage[Batch]:
    # A given correlation id spares a random one; ours are in the messages.
    return StreamMessage(batch, b"", correlation_id="-")


async def _decode(message: StreamMessage[Batch]) -> Any:
    return message.raw_message
