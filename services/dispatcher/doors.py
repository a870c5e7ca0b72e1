"""The doors: what comes in over the broker, batch by batch, and goes to the desk or the crew.

Each is a FastStream subscriber that is called once for each natural batch. No handler awaits a message: a
batch is decided in one go, and each answer leaves when the journal has the decision.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import partial

import msgspec

from services.dispatcher import commands, reports
from services.dispatcher.crew import Crew, Hello
from services.dispatcher.desk import Desk
from services.dispatcher.queues import Queues
from services.dispatcher.slots import Command, Outcome, Unavailable
from services.dispatcher.takes import Takes, decode_take
from services.dispatcher.wakeups import CONSUMER
from shared.broker import subjects
from shared.broker.errors import BrokerError
from shared.broker.faststream import Batch, StreamBroker
from shared.broker.messages import Message
from shared.broker.publisher import Publisher
from shared.domain.errors import DomainError
from shared.domain.job import Facts, Job
from shared.domain.worker import worker_id

log = logging.getLogger("daybook.dispatcher.doors")

decode_hello = msgspec.json.Decoder(Hello).decode

QUEUE_GROUP = "dispatcher"
"""Dispatchers share reports and commands; every one of them hears hellos and beats."""


END = b"NATS/1.0 204 No More\r\n\r\n"
BAD_REQUEST = b"NATS/1.0 400 Bad Request\r\n\r\n"

Answer = Callable[[bytes], None]


class Doors:
    """Turns messages into commands for the desk and into signs of life for the crew."""

    def __init__(
        self,
        desk: Desk,
        takes: Takes,
        crew: Crew,
        queues: Queues,
        publisher: Publisher,
        lease: timedelta,
        beat_seconds: float,
    ) -> None:
        self._desk = desk
        self._takes = takes
        self._crew = crew
        self._queues = queues
        self._publisher = publisher
        self._lease = lease
        self._beat_seconds = beat_seconds
        self._greeting: set[asyncio.Task[None]] = set()

    def open(self, broker: StreamBroker) -> None:
        """Subscribe to everything; nothing comes before the broker is started."""
        reports = broker.subject_batches(
            subjects.REPORTS, queue=QUEUE_GROUP, title="Reports", description="Claims, progress and results."
        )
        reports(self.on_reports)
        takes = broker.subject_batches(
            subjects.TAKES, queue=QUEUE_GROUP, title="Takes", description="Held tasks that are asked for."
        )
        takes(self.on_takes)
        orders = broker.subject_batches(
            subjects.COMMANDS, queue=QUEUE_GROUP, title="Commands", description="What is asked of a job."
        )
        orders(self.on_commands)
        hellos = broker.subject_batches(subjects.HELLOS, title="Hellos", description="Workers that come.")
        hellos(self.on_hellos)
        beats = broker.subject_batches(subjects.BEATS, title="Beats", description="Workers that are alive.")
        beats(self.on_beats)
        fired = broker.consumer_batches(
            subjects.TIMERS, CONSUMER, subjects.FIRED, title="Wake-ups", description="What was due."
        )
        fired(self.on_fired)

    async def on_reports(self, batch: Batch) -> None:
        """Claims, progress and results of workers."""
        for message in batch:
            answer = self._answering(message)
            if answer is None:
                continue
            try:
                job = subjects.id_in(message.subject)
                report = reports.decode_report(message.data)
            except (ValueError, msgspec.DecodeError) as problem:
                answer(msgspec.json.encode({"error": f"not a report: {problem}"}))
                continue
            self._desk.post(job, reports.command(report, self._lease, answer))

    async def on_takes(self, batch: Batch) -> None:
        """Held tasks for fast workers of the gateway. An answer is a message a task, and one that ends it."""
        for message in batch:
            answer = self._answering(message)
            if answer is None:
                continue
            try:
                take = decode_take(message.data)
            except (ValueError, msgspec.DecodeError) as problem:
                log.error("a take cannot be read: %s", problem)
                self._publisher.publish(message.reply, b"", BAD_REQUEST)
                continue
            self._takes.ask(take, partial(self._give, message.reply))

    async def on_commands(self, batch: Batch) -> None:
        """Orders of the API and the scheduler."""
        for message in batch:
            answer = self._answering(message)
            if answer is None:
                continue
            try:
                job = subjects.id_in(message.subject)
                order = commands.decode_order(message.data)
            except (ValueError, msgspec.DecodeError) as problem:
                answer(commands.error("invalid", f"not a command: {problem}"))
                continue
            self._desk.post(job, commands.command(order, answer))

    async def on_fired(self, batch: Batch) -> None:
        """Wake-ups that the broker kept; each is acked when the job has decided, else it comes again."""
        for message in batch:
            try:
                job, name = subjects.parse_fired(message.subject)
            except ValueError:
                log.error("a wake-up on %s is not one of ours", message.subject)
                self._publisher.publish(message.reply, b"+TERM")
                continue
            self._desk.post(job, self._wake(name, message.reply))

    async def on_hellos(self, batch: Batch) -> None:
        """Workers that come."""
        for message in batch:
            answer = self._answering(message)
            if answer is not None:
                self._soon(self._welcome(message, answer))

    async def on_beats(self, batch: Batch) -> None:
        """Workers that are alive."""
        for message in batch:
            self._soon(self._heard(message))

    def _give(self, reply: str, tasks: list[bytes]) -> None:
        for task in tasks:
            self._publisher.publish(reply, task)
        self._publisher.publish(reply, b"", END)

    def _wake(self, name: str, reply: str) -> Command:
        def act(job: Job, facts: Facts) -> None:
            job.wake(name, facts)

        def done(outcome: Outcome) -> None:
            if not isinstance(outcome, Unavailable):
                self._publisher.publish(reply, b"+ACK")

        return Command(act, done, by="system:timer")

    def _answering(self, message: Message) -> Answer | None:
        """Where the answer goes; None when whoever asks would have it go where no answer belongs."""
        if subjects.is_inbox(message.reply):
            return partial(self._publisher.publish, message.reply)
        if not message.reply:
            return _unheard
        log.warning(
            "a message on %s is passed over: its answer would go to %r", message.subject, message.reply
        )
        return None

    def _soon(self, greeting: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(greeting)
        self._greeting.add(task)
        task.add_done_callback(self._greeting.discard)

    async def _welcome(self, message: Message, answer: Answer) -> None:
        try:
            hello = _hello(message)
            await self._crew.welcome(hello, time.monotonic())
        except (ValueError, msgspec.DecodeError, DomainError) as problem:
            answer(msgspec.json.encode({"ok": False, "error": str(problem)}))
            return
        except (BrokerError, TimeoutError) as problem:
            log.warning("a worker's hello is not answered: %s", problem)
            return  # no answer: the worker says hello again
        answer(
            msgspec.json.encode(
                {
                    "ok": True,
                    "worker_id": str(worker_id(hello.name)),
                    "beat_seconds": self._beat_seconds,
                    "queues": [self._queues.describe(skill) for skill in hello.skills],
                }
            )
        )

    async def _heard(self, message: Message) -> None:
        try:
            await self._crew.heard(_hello(message), time.monotonic())
        except (ValueError, msgspec.DecodeError, DomainError) as problem:
            log.warning("a beat on %s makes no sense: %s", message.subject, problem)
        except (BrokerError, TimeoutError) as problem:
            log.warning("a beat on %s is not recorded: %s", message.subject, problem)


def _unheard(_answer: bytes) -> None:
    """Nobody waits for it."""


def _hello(message: Message) -> Hello:
    """The worker's words, held to the subject they came on. Raises ValueError when they do not fit it."""
    hello = decode_hello(message.data)
    if subjects.id_in(message.subject) != worker_id(hello.name):
        raise ValueError(f"the subject is not that of a worker called {hello.name!r}")
    if not 1 <= hello.concurrency <= 10_000:
        raise ValueError("concurrency must be between 1 and 10,000")
    if not 1 <= len(hello.skills) <= 200:
        raise ValueError("a worker has between 1 and 200 skills")
    return hello
