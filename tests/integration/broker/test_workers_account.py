"""What a worker can do with its token at the real server, and what it cannot.

Each attack runs twice: against the configuration as it is, and against one without the worker's
permissions, where the account alone must hold.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest

from services.dispatcher.queues import LONGEST_PULL_SECONDS, Queues
from shared.application.ids import new_id
from shared.broker import subjects
from shared.broker.embedded import EmbeddedServer
from shared.broker.errors import NoResponders
from shared.broker.messages import Message
from shared.broker.publisher import Publisher, line
from shared.broker.streams import api, declare_streams
from tests.support.nats import WORKER_TOKEN, NatsServer, settle

pytestmark = pytest.mark.connected

JOB, OTHER, WORKER = UUID(int=4), UUID(int=8), UUID(int=12)
QUEUE = subjects.skill_consumer("x")
NEXT = f"$JS.API.CONSUMER.MSG.NEXT.JOURNAL.{QUEUE}"
FORGED = subjects.commit_subject("job", JOB, 2)
"""Where a commit of a job would be stored that has one."""
ANSWER = b"an answer"
NOT_ENABLED = 10039
"""JetStream is not enabled for the account."""


class Unfenced(EmbeddedServer):
    """The same accounts, and no permissions."""

    def _configuration(self) -> str:
        text, times = re.subn(r", permissions: \{.*?\}\}", "}", super()._configuration(), flags=re.DOTALL)
        assert times == 1
        return text


class Both:
    """Our side, which answers whatever is asked wherever it is told to, and a worker's."""

    def __init__(self, ours: Publisher, worker: Publisher) -> None:
        self.ours, self.worker = ours, worker
        self.heard: list[Message] = []
        self.inbox = worker.connection.inbox()
        self.came: list[Message] = []
        self._changed = asyncio.Event()

    def hears(self, subject: bytes, reply: bytes, header: bytes, data: bytes) -> None:
        self.heard.append(Message(subject.decode(), reply.decode(), data, header))
        if reply:
            self.ours.connection.write(line(reply, b"", b"", ANSWER))
        self._changed.set()

    def takes(self, subject: bytes, reply: bytes, header: bytes, data: bytes) -> None:
        self.came.append(Message(subject.decode(), reply.decode(), data, header))
        self._changed.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    def pull(self, reply: str, queue: str = NEXT, **body: Any) -> None:
        body = {"batch": 1, "expires": 10_000_000_000, **body}
        self.worker.connection.write(line(queue.encode(), reply.encode(), b"", orjson.dumps(body)))

    async def store(self) -> int:
        """Store one more task; the answer is its sequence in the stream."""
        stored = await self.ours.request(subjects.commit_subject("job", new_id(), 1, "x"), b'{"hello":1}')
        return int(orjson.loads(stored.data)["seq"])

    async def info(self) -> dict[str, Any]:
        return await api(self.ours.connection, f"CONSUMER.INFO.JOURNAL.{QUEUE}")


async def opened(server: NatsServer, ack_wait: float = 30.0) -> Both:
    ours, worker = await server.connect("ours"), await server.connect_worker()
    both = Both(await Publisher.start(ours, timeout=60), await Publisher.start(worker, timeout=60))
    for subject in (subjects.REPORTS, subjects.HELLOS, subjects.BEATS, subjects.COMMANDS, subjects.LANES):
        await ours.listen(subject, both.hears)
    await worker.listen(both.inbox, both.takes)
    await worker.listen(subjects.CONTROLS, both.takes)
    await Queues(ours, ack_wait).open("x")
    return both


@pytest.fixture(params=[EmbeddedServer, Unfenced])
async def attacked(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Both]:
    server = NatsServer(request.param(tmp_path, worker_token=WORKER_TOKEN, sync="default"))
    server.server.start()
    try:
        await server.server.wait_ready()
        await declare_streams(await server.connect("declare"))
        yield await opened(server)
    finally:
        await server.close()


async def test_all_that_a_worker_says_comes_and_is_answered(nats_server: NatsServer) -> None:
    both = await opened(nats_server)
    for subject in (subjects.report(JOB), subjects.hello(WORKER)):
        assert (await both.worker.request(subject, b"?")).data == ANSWER
    both.worker.publish(subjects.beat(WORKER), b"!")
    await both.until(lambda: len(both.heard) == 3)
    assert [message.data for message in both.heard] == [b"?", b"?", b"!"]
    assert [subjects.is_inbox(message.reply) for message in both.heard] == [True, True, False]
    both.ours.publish(subjects.skill_control("x"), b"stop")
    await both.until(lambda: bool(both.came))
    assert both.came[0].subject == subjects.skill_control("x")


async def test_nobody_there_is_told_at_once(nats_server: NatsServer) -> None:
    worker = await Publisher.start(await nats_server.connect_worker())
    for subject in (subjects.report(JOB), subjects.hello(WORKER), f"{NEXT}_that_does_not_exist"):
        with pytest.raises(NoResponders):
            await worker.request(subject)


async def test_a_pull_brings_many_messages_heartbeats_and_its_end(nats_server: NatsServer) -> None:
    both = await opened(nats_server)
    for _ in range(3):
        await both.store()
    both.pull(both.inbox, batch=10, expires=3_000_000_000, idle_heartbeat=200_000_000)
    await both.until(lambda: bool(both.came) and both.came[-1].status == 100)
    assert [message.status for message in both.came[:3]] == [0, 0, 0]
    assert [message.delivery.sequence for message in both.came[:3]] == [1, 2, 3]
    await both.until(lambda: both.came[-1].status == 408)
    assert {message.status for message in both.came[3:-1]} == {100}
    assert both.came[-1].headers["Nats-Pending-Messages"] == "7"


async def test_acks_of_all_kinds_are_acted_upon(nats_server: NatsServer) -> None:
    both = await opened(nats_server, ack_wait=3.0)
    for _ in range(3):
        await both.store()
    both.pull(both.inbox, batch=5)
    await both.until(lambda: len(both.came) == 3)
    done, again, held = [message.reply for message in both.came]
    both.worker.publish(done, b"+ACK")
    both.worker.publish(again, b"-NAK")
    await both.until(lambda: len(both.came) == 4)
    assert (both.came[3].delivery.sequence, both.came[3].delivery.delivered) == (2, 2)
    while len(both.came) < 5:  # until what nobody keeps in progress has come once more
        both.worker.publish(held, b"+WPI")
        await asyncio.sleep(0.1)
    assert (both.came[4].delivery.sequence, both.came[4].delivery.delivered) == (2, 3)
    for ack in (held, both.came[4].reply):
        await both.worker.request(ack, b"+ACK")
    info = await both.info()
    assert (info["num_ack_pending"], info["ack_floor"]["stream_seq"]) == (0, 3)


async def test_a_pull_that_would_outlive_its_way_back_is_refused(nats_server: NatsServer) -> None:
    both = await opened(nats_server)
    kept = re.search(r'response_threshold: "(\d+)s"', nats_server.server._configuration())
    assert kept
    assert int(kept[1]) > LONGEST_PULL_SECONDS
    both.pull(both.inbox, expires=(LONGEST_PULL_SECONDS + 1) * 1_000_000_000)
    both.pull(both.inbox, expires=LONGEST_PULL_SECONDS * 1_000_000_000)
    both.pull(both.inbox, expires=0, no_wait=True)
    await both.until(lambda: len(both.came) == 2)
    assert [message.status for message in both.came] == [409, 404]
    assert (await both.info())["num_waiting"] == 1


@pytest.mark.parametrize(
    "subject",
    [
        FORGED,
        subjects.commit_subject("job", JOB, 2, "x"),
        subjects.command(JOB),
        subjects.LANES,
        subjects.TAKES,
        subjects.timer(JOB, "retry"),
        "$JS.API.STREAM.INFO.JOURNAL",
        "$JS.API.STREAM.PURGE.JOURNAL",
        "$JS.API.STREAM.DELETE.JOURNAL",
        "$JS.API.STREAM.MSG.GET.JOURNAL",
        "$JS.API.DIRECT.GET.JOURNAL",
        f"$JS.API.CONSUMER.DELETE.JOURNAL.{QUEUE}",
        "$JS.API.CONSUMER.MSG.NEXT.TIMERS.wakeups",
        "$JS.ACK.TIMERS.wakeups.1.1.1.1.0",
    ],
)
async def test_what_is_not_a_workers_to_say_reaches_nobody(attacked: Both, subject: str) -> None:
    first = await attacked.store()
    attacked.worker.publish(subject, b"{}")
    attacked.worker.connection.write(line(subject.encode(), attacked.inbox.encode(), b"", b"{}"))
    await attacked.worker.request(subjects.report(JOB))  # the server has acted on all before
    assert [message.subject for message in attacked.heard] == [subjects.report(JOB)]
    # Without permissions the API of JetStream answers, but for the workers' account, which has no streams.
    assert {message.status or error(message) for message in attacked.came} <= {503, NOT_ENABLED}
    assert await attacked.store() == first + 1
    assert (await api(attacked.ours.connection, "STREAM.INFO.JOURNAL"))["state"]["messages"] == first + 1


async def test_a_worker_tells_the_others_nothing(nats_server: NatsServer) -> None:
    both = await opened(nats_server)
    both.worker.publish(subjects.skill_control("x"), b"from a worker")
    both.worker.publish(both.inbox, b"from a worker")
    await both.worker.request(subjects.report(JOB))
    assert both.came == []


FORGERIES = [FORGED, subjects.command(OTHER), "$JS.API.STREAM.PURGE.JOURNAL"]


@pytest.mark.parametrize("reply", FORGERIES)
async def test_an_answer_is_no_commit_and_no_command_wherever_it_is_asked_for(
    attacked: Both, reply: str
) -> None:
    first = await attacked.store()
    for subject in (subjects.report(JOB), subjects.hello(WORKER), subjects.beat(WORKER)):
        attacked.worker.connection.write(line(subject.encode(), reply.encode(), b"", b"?"))
    await attacked.until(lambda: len(attacked.heard) >= 3)  # and has written its answers
    await nothing_happened(attacked, first, 3)


@pytest.mark.parametrize("reply", FORGERIES)
async def test_a_delivery_is_no_commit_and_no_command_wherever_it_is_asked_for(
    attacked: Both, reply: str
) -> None:
    first = await attacked.store()
    attacked.pull(reply)
    await behind_it(attacked)
    await nothing_happened(attacked, first + 2, 0)


@pytest.mark.parametrize("reply", FORGERIES)
@pytest.mark.parametrize("ack", [b"+ACK", b"+TERM", b'+NXT {"batch": 1}'])
async def test_what_answers_an_ack_is_no_commit_and_no_command(
    attacked: Both, ack: bytes, reply: str
) -> None:
    first = await attacked.store()
    attacked.pull(attacked.inbox)
    await attacked.until(lambda: bool(attacked.came))
    delivered = attacked.came[0].reply
    attacked.worker.connection.write(line(delivered.encode(), reply.encode(), b"", ack))
    await behind_it(attacked)
    await nothing_happened(attacked, first + 2, 0)


@pytest.mark.parametrize("reply", ["$JS.ACK.TIMERS.wakeups.1.1.1.1.0", "_R_.AAAAAA.BBBBBB"])
async def test_subjects_that_the_server_does_not_translate_are_not_taken(attacked: Both, reply: str) -> None:
    told: list[bytes] = []
    await attacked.ours.connection.listen(reply, lambda *message: told.append(message[3]))
    attacked.worker.connection.write(line(subjects.report(JOB).encode(), reply.encode(), b"", b"?"))
    await attacked.worker.request(subjects.report(OTHER))
    await settle(attacked.ours)
    assert [message.subject for message in attacked.heard] == [subjects.report(OTHER)]
    assert told == []


async def test_what_our_side_says_is_not_for_workers_to_hear(attacked: Both) -> None:
    stolen: list[bytes] = []
    for subject in (">", "journal.>", "_DAYBOOK.>", "_R_.>", "report.*", "command.*", "$JS.>", "$SYS.>"):
        await attacked.worker.connection.listen(subject, lambda *message: stolen.append(message[0]))
    await attacked.store()
    attacked.ours.publish(subjects.command(JOB), b"secret")
    attacked.ours.publish(subjects.report(JOB), b"secret")
    await attacked.until(lambda: len(attacked.heard) == 2)
    attacked.ours.publish(subjects.skill_control("x"), b"for workers")
    await attacked.until(lambda: bool(attacked.came))
    assert {subject.decode() for subject in stolen} <= {subjects.skill_control("x")}


async def behind_it(both: Both) -> None:
    """Store two more tasks and wait until one is here: what the server had to deliver before is delivered.

    The other may have gone where the forgery had it go, which is nowhere.
    """
    both.pull(both.inbox, batch=9)
    first = await both.store()
    await both.store()
    await both.until(lambda: any(m.reply and m.delivery.sequence >= first for m in both.came))


def error(message: Message) -> int:
    return int(orjson.loads(message.data)["error"]["err_code"])


async def nothing_happened(both: Both, last: int, heard: int) -> None:
    """The journal has `last` commits and takes the next one behind them; only `heard` messages came to us."""
    await settle(both.ours)
    state = (await api(both.ours.connection, "STREAM.INFO.JOURNAL"))["state"]
    assert (state["first_seq"], state["messages"], state["last_seq"]) == (1, last, last)
    assert await both.store() == last + 1
    assert len(both.heard) == heard
    assert not [message for message in both.heard if message.subject.startswith("command.")]
