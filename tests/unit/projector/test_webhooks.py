"""Webhooks: what is announced, what it says, and how long it is tried."""

import asyncio
import ssl
import threading
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import orjson
import pytest

from services.projector.webhooks.outbox import Outbox
from services.projector.webhooks.sending import TRIES, Sending
from services.projector.webhooks.watching import Watching, message_id
from shared.application.clock import now_us, utc_now
from shared.application.collecting import collected
from shared.application.expressions import evaluate
from shared.application.ids import new_id
from shared.application.ports import Decision
from shared.application.webhooks import signed
from shared.domain.graph import Graph
from shared.domain.job import Facts, Job, JobSpec
from shared.domain.topics import AGGREGATES, EVENTS
from shared.journal.memory import MemoryJournal
from shared.readmodels.errors import ReadModelUnavailable
from tests.support.certificates import Authority, Certificate

GRAPH = Graph.of_skill("resize")


KEY = b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.us = now_us()

    def __call__(self) -> int:
        return self.us


class World:
    """A journal, an outbox on disk, and a watcher beside a projector that is never behind."""

    def __init__(self, url: str | None, file: Path) -> None:
        self.url, self.file, self.clock, self.news = url, file, Clock(), 0
        self.journal = MemoryJournal(EVENTS, AGGREGATES)
        self.open()

    def open(self) -> None:
        self.outbox = Outbox(self.url, self.file)
        self.watching = Watching(self.outbox, self.clock, self._count)

    def _count(self) -> None:
        self.news += 1

    async def catch_up(self) -> None:
        last = await self.journal.last_sequence()
        await self.watching.catch_up(self.journal, lambda: last)

    async def accept(self, url: str | None = "http://127.0.0.1:9/hook", origin: str = "avtomatika") -> UUID:
        job = new_id()
        spec = JobSpec(skill="resize", webhook_url=url, origin=origin, metadata={"order": 7, "daybook.x": 1})
        await self._store(job, Job.accept(job, spec, self._facts()), None)
        return job

    async def work(self, job: UUID) -> None:
        recorded = await self.journal.load(Job, job)
        assert recorded is not None
        aggregate = recorded.aggregate
        aggregate.progress(1, 1, "w1", 0.5, "half", self._facts())
        aggregate.succeed(1, 1, "w1", {"width": 640}, self._facts())
        await self._store(job, aggregate, recorded.tip)

    async def cancel(self, job: UUID) -> None:
        recorded = await self.journal.load(Job, job)
        assert recorded is not None
        recorded.aggregate.cancel(self._facts(), "", "client:x")
        await self._store(job, recorded.aggregate, recorded.tip)

    def due(self) -> list[tuple[str, str]]:
        return [(message.event, message.url) for message in self.outbox.due(self.clock.us, 100)]

    async def _store(self, job: UUID, aggregate: Job, tip: bytes | None) -> None:
        before = len(self.journal.commits)
        await self.journal.append(Decision("job", job, collected(aggregate), "x", tip))
        self.watching.saw(self.journal.commits[before:])

    @staticmethod
    def _facts() -> Facts:
        return Facts(utc_now(), GRAPH, evaluate)


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    made = World(url, tmp_path / "webhooks.db")
    yield made
    made.outbox.close()


class Receiver(BaseHTTPRequestHandler):
    """Answers what the test says and keeps what came."""

    answers: ClassVar[list[int]]
    came: ClassVar[list[tuple[dict[str, str], bytes]]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.came.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(self.answers.pop(0) if self.answers else 200)
        self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def receiver() -> Iterator[tuple[str, type[Receiver]]]:
    with receiving() as made:
        yield made


@contextmanager
def receiving(certificate: Certificate | None = None) -> Iterator[tuple[str, type[Receiver]]]:
    """A receiver on this machine, with TLS when it has a certificate."""
    kept = type("Kept", (Receiver,), {"answers": [], "came": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kept)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.cert, certificate.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        scheme = "http" if certificate is None else "https"
        yield f"{scheme}://127.0.0.1:{server.server_port}/hook?x=1", kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@asynccontextmanager
async def sending(
    world: World, key: bytes | None = KEY, *, loopback: bool = True, trusted: Path | None = None
) -> AsyncIterator[Sending]:
    made = Sending(world.outbox, world.journal, world.clock, key, loopback=loopback, trusted=trusted)
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.wait({task})


async def until_logged(world: World, outcomes: list[str]) -> None:
    async with asyncio.timeout(30):
        while [outcome for _, _, outcome, _, _ in world.outbox.log()] != outcomes:
            await asyncio.sleep(0.005)


async def until_tried(world: World, attempts: int) -> None:
    async with asyncio.timeout(30):
        while [tried for _, _, _, tried, _ in world.outbox.log()] != [attempts]:
            await asyncio.sleep(0.005)


async def test_the_end_of_a_watched_job_is_announced_once(world: World) -> None:
    await world.catch_up()
    job, quiet = await world.accept(), await world.accept(None)
    assert world.due() == []
    await world.work(job)
    await world.work(quiet)
    assert [event for event, _ in world.due()] == ["worker_event:progress", "job_finished"]
    world.watching.saw(world.journal.commits)
    assert len(world.due()) == 2


async def test_the_outbox_stands_where_the_read_model_does(tmp_path: Path, postgres_url: str) -> None:
    """Whoever goes on with it needs no file of whoever began it."""
    made = World(postgres_url, tmp_path / "webhooks.db")
    await made.catch_up()
    await made.accept()
    made.outbox.close()
    assert not made.file.exists()
    made.file = tmp_path / "elsewhere" / "webhooks.db"
    made.open()
    assert len(made.outbox.watched()) == 1
    assert made.outbox.position == 1
    made.outbox.close()


async def test_what_the_documents_do_not_announce_is_not_sent(world: World) -> None:
    await world.catch_up()
    await world.cancel(await world.accept())
    assert world.due() == []
    await world.cancel(await world.accept(origin="native"))
    assert [event for event, _ in world.due()] == ["job_cancelled"]


async def test_nothing_is_missed_by_a_process_that_was_killed_anywhere(world: World) -> None:
    await world.catch_up()
    job = await world.accept()
    world.outbox.close()  # as kill -9 would: nothing is kept that was not stored
    world.open()
    await world.work(job)  # seen by nobody: the watcher has not caught up yet
    assert world.due() == []
    await world.catch_up()
    assert [event for event, _ in world.due()] == ["worker_event:progress", "job_finished"]
    world.outbox.close()
    world.open()
    world.watching.position = 0  # even read again from the beginning
    await world.catch_up()
    assert len(world.outbox.log()) == 2


async def test_what_could_not_be_stored_is_announced_after_the_next_start(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise ReadModelUnavailable("it is away")

    await world.catch_up()
    job = await world.accept(origin="native")
    with monkeypatch.context() as patch:
        patch.setattr(world.outbox, "store", away)
        with pytest.raises(ReadModelUnavailable):
            await world.cancel(job)
    world.watching.keep()  # as a process does at its end
    world.outbox.close()
    world.open()
    await world.catch_up()
    assert [event for event, _ in world.due()] == ["job_cancelled"]


async def test_the_message_is_as_documented_and_signed(
    world: World, receiver: tuple[str, type[Receiver]]
) -> None:
    url, kept = receiver
    await world.catch_up()
    job = await world.accept(url)
    await world.work(job)
    async with sending(world):
        await until_logged(world, ["delivered", "delivered"])
    bodies = {orjson.loads(body)["event"]: (headers, body) for headers, body in kept.came}
    headers, body = bodies["job_finished"]
    message = orjson.loads(body)
    assert message == {
        "event": "job_finished",
        "job_id": str(job),
        "status": "finished",
        "result": {"width": 640},
        "error": None,
        "security": None,
        "metadata": {"order": 7},
        "timestamp": message["timestamp"],
    }
    assert headers["host"] == url.split("/")[2]
    expected = signed(KEY, headers["webhook-id"], int(headers["webhook-timestamp"]), body)
    assert headers["webhook-signature"] == expected["webhook-signature"]
    progress = orjson.loads(bodies["worker_event:progress"][1])
    assert (progress["status"], progress["result"]) == ("running", {"progress": 0.5, "message": "half"})


def test_a_signature_is_that_of_the_standard() -> None:
    # The example of the specification (standardwebhooks.com, its reference libraries' test vector).
    headers = signed(KEY, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert "webhook-signature" not in signed(None, "m", 1, b"")


async def test_a_refusal_is_tried_again_later_with_the_same_message(
    world: World, receiver: tuple[str, type[Receiver]]
) -> None:
    url, kept = receiver
    kept.answers[:] = [500, 302]
    await world.catch_up()
    await world.cancel(await world.accept(url, "native"))
    async with sending(world) as sender:
        for attempt in (1, 2):
            await until_tried(world, attempt)
            assert world.due() == []
            world.clock.us += 2**attempt * 1_000_000
            sender.wake()
        await until_logged(world, ["delivered"])
    assert len({headers["webhook-id"] for headers, _ in kept.came}) == 1
    assert len({body for _, body in kept.came}) == 1
    assert len(kept.came) == 3  # the redirect was not followed


async def test_a_receiver_that_is_gone_or_never_there_is_given_up(
    world: World, receiver: tuple[str, type[Receiver]]
) -> None:
    url, kept = receiver
    kept.answers[:] = [410]
    await world.catch_up()
    await world.cancel(await world.accept(url, "native"))
    async with sending(world) as sender:
        await until_logged(world, ["failed"])
        kept.answers[:] = [500] * TRIES
        await world.cancel(await world.accept(url, "native"))
        sender.wake()
        async with asyncio.timeout(30):
            while any(outcome == "pending" for _, _, outcome, _, _ in world.outbox.log()):
                world.clock.us += 3_600_000_000
                sender.wake()
                await asyncio.sleep(0.005)
    assert len(kept.came) == 1 + TRIES


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_receiver_with_tls_is_told_when_its_authority_is_trusted(
    world: World, tmp_path: Path, host: str
) -> None:
    authority = Authority(tmp_path)
    with receiving(authority.issue("receiver")) as (url, receiver):
        await world.catch_up()
        await world.work(await world.accept(url.replace("127.0.0.1", host)))
        async with sending(world, trusted=authority.file):
            await until_logged(world, ["delivered", "delivered"])
        assert len(receiver.came) == 2
        assert {headers["host"].partition(":")[0] for headers, _ in receiver.came} == {host}


@pytest.mark.parametrize("trusts_another", [True, False])
async def test_a_receiver_whose_certificate_nobody_vouches_for_is_told_nothing(
    world: World, tmp_path: Path, trusts_another: bool
) -> None:
    other = Authority(tmp_path, "other").file if trusts_another else None
    with receiving(Authority(tmp_path).issue("receiver")) as (url, receiver):
        await world.catch_up()
        await world.cancel(await world.accept(url, "native"))
        async with sending(world, trusted=other):
            await until_tried(world, 1)
        ((_, _, outcome, _, answer),) = world.outbox.log()
        assert outcome == "pending"
        assert "certificate verify failed" in str(answer)
        assert receiver.came == []


async def test_a_certificate_of_another_name_is_no_certificate(world: World, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with receiving(authority.issue("receiver", "elsewhere.example")) as (url, receiver):
        await world.catch_up()
        await world.cancel(await world.accept(url, "native"))
        async with sending(world, trusted=authority.file):
            await until_tried(world, 1)
        assert "certificate verify failed" in str(world.outbox.log()[0][4])
        assert receiver.came == []


async def test_a_private_address_is_never_asked(world: World, receiver: tuple[str, type[Receiver]]) -> None:
    url, kept = receiver
    await world.catch_up()
    await world.cancel(await world.accept(url, "native"))
    async with sending(world, loopback=False):
        await until_logged(world, ["failed"])
    assert kept.came == []
    assert "is not public" in str(world.outbox.log()[0][4])


def test_a_message_s_id_is_the_same_whenever_it_is_derived() -> None:
    job = new_id()
    assert message_id(job, 7) == message_id(UUID(str(job)), 7)
