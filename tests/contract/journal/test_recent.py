"""Reading the releases of the recent past."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from shared.application.ids import new_id
from shared.application.ports import Decision, JournalUnavailable
from shared.broker.connection import Connection
from shared.broker.publisher import Publisher
from shared.broker.streams import api
from shared.broker.subjects import TAKEN
from shared.domain.graph import Graph
from shared.domain.job import Facts, Job, JobSpec
from shared.domain.topics import AGGREGATES, EVENTS
from shared.journal.codec import Codec
from shared.journal.journal import JetStreamJournal
from shared.journal.recent import Recent, releases_since
from tests.support.nats import NatsServer

pytestmark = pytest.mark.connected

CODEC = Codec(EVENTS, AGGREGATES)
HOUR = timedelta(hours=1)


@pytest.fixture
async def connection(nats_server: NatsServer) -> Connection:
    return await nats_server.connect()


@pytest.fixture
async def journal(connection: Connection) -> AsyncIterator[JetStreamJournal]:
    publisher = await Publisher.start(connection, timeout=60)
    yield JetStreamJournal(publisher, CODEC, sync_always=False, timeout=60)
    await publisher.stop()


async def accept(journal: JetStreamJournal, room: bool = True, **spec: object) -> UUID:
    id_ = new_id()
    graph = Graph.of_skill("work")
    facts = Facts(datetime.now(UTC), graph, lambda *_: None, has_room=lambda skill: room)
    job = Job.accept(id_, JobSpec(skill="work", **spec), facts)  # type: ignore[arg-type]
    await journal.append(Decision("job", id_, job.collect_events(), "client:test"))  # type: ignore[arg-type]
    return id_


async def recent(connection: Connection, span: timedelta = HOUR, **options: object) -> Recent:
    now = datetime.now(UTC)
    return await releases_since(connection, CODEC, now, span, **{"most": 1000, **options})  # type: ignore[arg-type]


async def test_what_was_taken_past_its_queue_counts_as_released_and_is_one_commit(
    connection: Connection, journal: JetStreamJournal
) -> None:
    id_ = await accept(journal, room=False)
    held = await journal.load(Job, id_)
    assert held is not None
    facts = Facts(datetime.now(UTC), Graph.of_skill("work"), lambda *_: None)
    assert held.aggregate.take(1, "w1", HOUR, facts).accepted
    events = held.aggregate.collect_events()
    await journal.append(Decision("job", id_, events, "worker:w1", held.tip))  # type: ignore[arg-type]
    (commit,) = (await recent(connection)).commits
    assert [topic for topic, _ in commit.events] == ["TaskReleased", "TaskClaimed"]
    assert commit.skill == TAKEN, "which is the queue of no skill"


async def test_the_releases_are_read_in_order_and_nothing_else(
    connection: Connection, journal: JetStreamJournal
) -> None:
    released = []
    for _ in range(30):
        released.append(await accept(journal))
        await accept(journal, room=False)
    found = await recent(connection)
    assert [commit.id for commit in found.commits] == released
    assert found.since is None, "the journal began within the hour"


async def test_of_an_empty_journal_all_is_known(connection: Connection) -> None:
    assert await recent(connection) == Recent(None, [])


async def test_only_those_that_hold_some_bytes_are_read(
    connection: Connection, journal: JetStreamJournal
) -> None:
    wanted = await accept(journal, input={"per": 1})
    await accept(journal)
    found = await recent(connection, holding=b'"per"')
    assert [commit.id for commit in found.commits] == [wanted]


async def test_what_is_older_than_the_span_is_left_out(
    connection: Connection, journal: JetStreamJournal
) -> None:
    await accept(journal)
    later = datetime.now(UTC) + timedelta(minutes=10)
    found = await releases_since(connection, CODEC, later, timedelta(minutes=5), most=10)
    assert found.commits == []
    assert found.since == later - timedelta(minutes=5)


async def test_a_past_with_too_many_releases_is_cut_off(
    connection: Connection, journal: JetStreamJournal
) -> None:
    for _ in range(20):
        await accept(journal)
    later = datetime.now(UTC) + timedelta(minutes=10)
    found = await releases_since(connection, CODEC, later, HOUR, most=10)
    assert found.commits == []
    assert found.since == later - timedelta(minutes=7.5)


async def test_no_consumer_is_left_behind(connection: Connection, journal: JetStreamJournal) -> None:
    await accept(journal)
    await recent(connection)
    await connection.settle()
    assert (await api(connection, "STREAM.INFO.JOURNAL"))["state"]["consumer_count"] == 0


async def test_without_the_stream_it_says_so(connection: Connection) -> None:
    await api(connection, "STREAM.DELETE.JOURNAL")
    with pytest.raises(JournalUnavailable):
        await recent(connection)
