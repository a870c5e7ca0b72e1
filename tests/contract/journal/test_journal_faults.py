"""What the journal on JetStream does when the broker dies, the line breaks, or an answer is lost."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import UUID

import pytest

from shared.application.ids import new_id
from shared.application.ports import (
    Appended,
    JournalUnavailable,
    UnknownOutcome,
    VersionConflict,
)
from shared.broker.connection import connect, disconnect
from shared.broker.embedded import Sync
from shared.broker.publisher import Publisher
from shared.broker.streams import api
from shared.journal.codec import Codec
from shared.journal.follow import JournalWentBack
from shared.journal.journal import JetStreamJournal
from tests.contract.journal.contract import NOON, append, entries, take
from tests.contract.journal.ledger import EVENTS, KINDS, LEDGER, Ledger, opened, written
from tests.support.nats import NatsServer, serve
from tests.support.proxy import Proxy

pytestmark = pytest.mark.connected

PATIENCE = 1.0
"""Seconds that an append waits where these tests let it wait in vain."""


@pytest.fixture(params=["default", "always"])
def sync(request: pytest.FixtureRequest) -> Sync:
    mode: Sync = request.param
    return mode


@pytest.fixture
async def server(tmp_path: Path, sync: Sync) -> AsyncIterator[NatsServer]:
    async for server in serve(tmp_path / "nats", sync):
        yield server


@pytest.fixture
async def journal(server: NatsServer) -> JetStreamJournal:
    return await JetStreamJournal.open(await server.connect(), EVENTS, KINDS, timeout=60)


@pytest.fixture
async def proxy(server: NatsServer) -> AsyncIterator[Proxy]:
    async with Proxy.to("127.0.0.1", server.server.port) as proxy:
        yield proxy


@pytest.fixture
async def behind_proxy(server: NatsServer, proxy: Proxy, sync: Sync) -> AsyncIterator[JetStreamJournal]:
    """A journal whose line to the server can be disturbed."""
    connection = await connect(proxy.url, name="behind proxy", user="daybook", password=server.password)
    publisher = await Publisher.start(connection, timeout=PATIENCE)
    yield JetStreamJournal(publisher, Codec(EVENTS, KINDS), sync_always=sync == "always", timeout=PATIENCE)
    await proxy.cut()
    await disconnect(connection)


async def test_a_lost_acknowledgement_is_an_unknown_outcome_and_loading_shows_the_truth(
    journal: JetStreamJournal, behind_proxy: JetStreamJournal, proxy: Proxy
) -> None:
    book = new_id()
    proxy.swallow_answers = True
    async with asyncio.timeout(PATIENCE + 30):
        with pytest.raises(UnknownOutcome) as caught:
            await append(behind_proxy, book, opened(book, NOON, owner="ann"))
    assert (caught.value.kind, caught.value.id, caught.value.n) == (LEDGER, book, 1)

    recorded = await journal.load(Ledger, book)

    assert recorded is not None, "it was stored"
    with pytest.raises(VersionConflict):
        await append(journal, book, opened(book, NOON, owner="ann"))


async def test_a_lost_request_is_an_unknown_outcome_and_loading_shows_the_truth(
    journal: JetStreamJournal, behind_proxy: JetStreamJournal, proxy: Proxy
) -> None:
    book = new_id()
    proxy.swallow_requests = True
    async with asyncio.timeout(PATIENCE + 30):
        with pytest.raises(UnknownOutcome):
            await append(behind_proxy, book, opened(book, NOON))

    assert await journal.load(Ledger, book) is None
    await append(journal, book, opened(book, NOON))


async def test_a_broken_line_is_told_at_once_and_the_journal_goes_on_when_it_is_back(
    behind_proxy: JetStreamJournal, proxy: Proxy
) -> None:
    behind_proxy.timeout = 30.0
    book, other = new_id(), new_id()
    proxy.swallow_answers = True
    waiting = asyncio.ensure_future(append(behind_proxy, book, opened(book, NOON)))
    async with asyncio.timeout(30):
        await proxy.swallowed.wait()
        await proxy.cut()
        with pytest.raises(UnknownOutcome):
            await waiting
        await append(behind_proxy, other, opened(other, NOON))  # waits for the line


async def test_every_append_ends_in_time_when_the_server_is_dead(
    server: NatsServer, journal: JetStreamJournal
) -> None:
    first = new_id()
    await append(journal, first, opened(first, NOON))
    loop = asyncio.get_running_loop()
    journal.timeout = PATIENCE

    async def timed(book: UUID) -> tuple[BaseException | None, float]:
        began = loop.time()
        try:
            await append(journal, book, opened(book, NOON))
        except (UnknownOutcome, JournalUnavailable) as error:
            return error, loop.time() - began
        return None, loop.time() - began

    on_the_way = [asyncio.ensure_future(timed(new_id())) for _ in range(300)]
    await asyncio.sleep(0)
    server.server.kill()
    await until(lambda: not journal.publisher.connection.is_connected)
    outcomes = await asyncio.gather(*on_the_way, *(timed(new_id()) for _ in range(300)))

    assert max(seconds for _, seconds in outcomes) < PATIENCE + 20.0  # a busy machine is late
    assert all(isinstance(error, JournalUnavailable) for error, _ in outcomes[300:]), "surely not stored"
    with pytest.raises(JournalUnavailable):
        await journal.load(Ledger, first)
    with pytest.raises(JournalUnavailable):
        await journal.last_sequence()


async def test_nothing_acknowledged_is_lost_when_the_server_is_killed_under_load(
    server: NatsServer, journal: JetStreamJournal
) -> None:
    kept: dict[UUID, Appended] = {}
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            book = new_id()
            try:
                kept[book] = await append(journal, book, opened(book, NOON))
            except UnknownOutcome:
                # The rule: load, then decide again.
                recorded = await reload(journal, book)
                if recorded is None:
                    kept[book] = await append(journal, book, opened(book, NOON))
            except JournalUnavailable:
                continue

    writers = [asyncio.ensure_future(write()) for _ in range(32)]
    for _ in range(2):
        goal = len(kept) + 200
        await until(lambda goal=goal: len(kept) >= goal)  # type: ignore[misc]
        await server.restart()
    goal = len(kept) + 200
    await until(lambda: len(kept) >= goal)
    stop.set()
    await asyncio.gather(*writers)

    for book, appended in kept.items():
        (commit,) = await journal.history(LEDGER, book)
        assert commit.sequence == appended.sequence


async def test_a_follower_misses_nothing_when_the_server_is_killed_and_started_again(
    server: NatsServer, journal: JetStreamJournal
) -> None:
    follower_journal = await JetStreamJournal.open(
        await server.connect("follower"), EVENTS, KINDS, timeout=60
    )
    seen: list[int] = []
    stop = asyncio.Event()

    async def watch() -> None:
        async for commits in follower_journal.follow(0):
            seen.extend(commit.sequence for commit in commits)

    async def write() -> None:
        while not stop.is_set():
            book = new_id()
            try:
                await append(journal, book, opened(book, NOON))
            except (UnknownOutcome, JournalUnavailable):
                continue

    watcher = asyncio.ensure_future(watch())
    writers = [asyncio.ensure_future(write()) for _ in range(32)]
    for _ in range(3):
        goal = len(seen) + 300
        await until(lambda goal=goal: len(seen) >= goal)  # type: ignore[misc]
        await server.restart()
    goal = len(seen) + 300
    await until(lambda: len(seen) >= goal)
    stop.set()
    await asyncio.gather(*writers)
    last = await journal.last_sequence()
    await until(lambda: len(seen) >= last)
    watcher.cancel()

    assert seen == list(range(1, last + 1))


async def test_a_follower_misses_nothing_when_only_its_line_breaks(
    journal: JetStreamJournal, behind_proxy: JetStreamJournal, proxy: Proxy
) -> None:
    follower = behind_proxy.follow(0)
    books = [new_id() for _ in range(6)]
    await append(journal, books[0], opened(books[0], NOON))
    assert [commit.id for commit in await take(follower, 1)] == books[:1]

    proxy.swallow_answers = True
    for book in books[1:]:
        await append(journal, book, opened(book, NOON))
    async with asyncio.timeout(30):
        await proxy.swallowed.wait()
    await proxy.cut()

    async with asyncio.timeout(30):  # nothing more is written that would show the gap
        assert [commit.id for commit in await take(follower, 5)] == books[1:]
    await follower.aclose()  # type: ignore[attr-defined]


async def test_a_follower_whose_consumer_was_deleted_goes_on_with_a_new_one(
    journal: JetStreamJournal, server: NatsServer
) -> None:
    connection = await server.connect()
    books = [new_id() for _ in range(6)]
    follower = journal.follow(0)
    for book in books[:3]:
        await append(journal, book, opened(book, NOON))
    assert [commit.id for commit in await take(follower, 3)] == books[:3]

    for name in (await api(connection, "CONSUMER.NAMES.JOURNAL"))["consumers"]:
        await api(connection, f"CONSUMER.DELETE.JOURNAL.{name}")
    for book in books[3:]:
        await append(journal, book, opened(book, NOON))

    assert [commit.id for commit in await take(follower, 3)] == books[3:]
    await follower.aclose()  # type: ignore[attr-defined]


async def test_a_follower_ahead_of_the_journal_is_told_so(journal: JetStreamJournal) -> None:
    book = new_id()
    await append(journal, book, opened(book, NOON))
    with pytest.raises(JournalWentBack):
        await anext(journal.follow(2))


async def test_a_closed_follower_leaves_no_consumer(journal: JetStreamJournal, server: NatsServer) -> None:
    connection = await server.connect()
    book = new_id()
    await append(journal, book, opened(book, NOON))
    follower = journal.follow(0)
    await take(follower, 1)

    await follower.aclose()  # type: ignore[attr-defined]

    async with asyncio.timeout(30):
        while (await api(connection, "CONSUMER.NAMES.JOURNAL"))["consumers"]:
            await asyncio.sleep(0.01)


async def test_of_two_processes_that_decide_about_one_version_one_is_taken(
    server: NatsServer, journal: JetStreamJournal
) -> None:
    rival = await JetStreamJournal.open(await server.connect("rival"), EVENTS, KINDS, timeout=60)
    books = [new_id() for _ in range(200)]

    outcomes = await asyncio.gather(
        *(append(journal, book, opened(book, NOON, owner="ann")) for book in books),
        *(append(rival, book, opened(book, NOON, owner="bob")) for book in reversed(books)),
        return_exceptions=True,
    )

    assert sum(isinstance(outcome, Appended) for outcome in outcomes) == 200
    assert sum(isinstance(outcome, VersionConflict) for outcome in outcomes) == 200
    for book in books:
        assert len(await journal.history(LEDGER, book)) == 1


async def test_a_commit_too_large_for_the_broker_is_refused_and_the_line_stays(
    journal: JetStreamJournal,
) -> None:
    book = new_id()
    first = await append(journal, book, opened(book, NOON))
    with pytest.raises(JournalUnavailable, match="larger"):
        await append(journal, book, written(book, 2, NOON, "x" * 8 * 1024 * 1024), after=first)
    await append(journal, book, written(book, 2, NOON, "small"), after=first)
    assert await entries(journal, book) == ["small"]


async def test_a_cancelled_append_disturbs_no_other(journal: JetStreamJournal) -> None:
    books = [new_id() for _ in range(20)]
    tasks = [asyncio.ensure_future(append(journal, book, opened(book, NOON))) for book in books]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    assert all(isinstance(outcome, Appended) for outcome in outcomes[1::2])
    later = new_id()
    await append(journal, later, opened(later, NOON))


async def reload(journal: JetStreamJournal, book: UUID) -> object:
    async with asyncio.timeout(30):
        while True:
            try:
                return await journal.load(Ledger, book)
            except JournalUnavailable:
                continue


async def until(condition: Callable[[], bool], seconds: float = 90) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
