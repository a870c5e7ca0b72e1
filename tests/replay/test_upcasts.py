"""An event of an older class version is upcast wherever events are read.

The class is made for these tests: a TaskSucceeded whose `worker` was called `robot` in version 1 and
`holder` in version 2. Histories of both versions are stored under `old`.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import pytest
from eventsourcing import utils
from eventsourcing.domain import Aggregate, AggregateEvent
from eventsourcing.persistence import JSONTranscoder, Mapper

from services.projector.tolerant import TolerantCodec
from shared.application.ports import Recorded, StoredCommit
from shared.broker.publisher import Publisher
from shared.domain.job import Job
from shared.domain.job.events import TaskSucceeded
from shared.domain.topics import AGGREGATES, EVENTS
from shared.journal.codec import Codec
from shared.journal.job_states import JobStates
from shared.journal.journal import JetStreamJournal
from shared.journal.recorder import JetStreamRecorder
from shared.journal.snapshot_stream import JetStreamSnapshots
from shared.journal.snapshots import Kind, Snapshots
from shared.readmodels.projection import Projection
from shared.readmodels.sqlite import SqliteDatabase
from tests.replay.record import state_of
from tests.support.nats import NatsServer

pytestmark = pytest.mark.connected


@dataclass(frozen=True)
class Renamed(TaskSucceeded):
    """What a later release would call TaskSucceeded."""

    class_version: ClassVar[int] = 3

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        state["holder"] = state.pop("robot")

    @staticmethod
    def upcast_v2_v3(state: dict[str, Any]) -> None:
        state["worker"] = state.pop("holder")


LATER: dict[str, type[AggregateEvent]] = {**EVENTS, "TaskSucceeded": Renamed}
OLD = sorted((Path(__file__).parent / "old").glob("*.json"))
OUTPUT = {"ok": True}


@pytest.fixture(params=OLD, ids=lambda path: path.stem)
def history(request: pytest.FixtureRequest) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(request.param.read_text(encoding="utf-8"))
    return content


@pytest.fixture
async def publisher(nats_server: NatsServer, history: dict[str, Any]) -> AsyncIterator[Publisher]:
    """Of a broker whose journal has the history."""
    publisher = await Publisher.start(await nats_server.connect())
    for commit in history["commits"]:
        await publisher.request(commit["subject"], commit["body"].encode())
    yield publisher
    await publisher.stop()


async def followed(publisher: Publisher, codec: Codec, number: int) -> list[StoredCommit]:
    journal = JetStreamJournal(publisher, codec, sync_always=False)
    follower = journal.follow(0)
    commits: list[StoredCommit] = []
    async with asyncio.timeout(60):
        while len(commits) < number:
            commits += await anext(follower)
    await follower.aclose()  # type: ignore[attr-defined]  # it is an async generator
    return commits


def id_of(history: dict[str, Any]) -> UUID:
    return UUID(json.loads(history["commits"][0]["body"])["id"])


def test_both_older_versions_are_stored() -> None:
    assert len(OLD) == 2


async def test_a_load_upcasts(publisher: Publisher, history: dict[str, Any]) -> None:
    journal = JetStreamJournal(publisher, Codec(LATER, AGGREGATES), sync_always=False)
    recorded = await journal.load(Job, id_of(history))
    assert recorded is not None
    assert json.loads(json.dumps(state_of(recorded.aggregate))) == history["state"]


async def test_a_load_from_a_snapshot_upcasts_the_commits_behind_it(
    publisher: Publisher, history: dict[str, Any]
) -> None:
    codec = Codec(LATER, AGGREGATES)
    kinds: dict[type[Aggregate], Kind] = {Job: Kind("job", JobStates())}
    snapshots = Snapshots(JetStreamSnapshots(publisher), kinds, first_commits=1)
    journal = JetStreamJournal(publisher, codec, sync_always=False, snapshots=snapshots)
    first = (await journal.history("job", id_of(history)))[:1]
    job = codec.fold(Job, first)
    assert job is not None
    taken = snapshots.take(Recorded(job, first[0].sequence, first[0].digest))
    await snapshots.store.put({(taken.kind, taken.id): taken.packed()})
    recorded = await journal.load(Job, id_of(history))
    assert recorded is not None
    assert recorded.snapshot == 2
    assert json.loads(json.dumps(state_of(recorded.aggregate))) == history["state"]


async def test_a_follower_upcasts(publisher: Publisher, history: dict[str, Any]) -> None:
    commits = await followed(publisher, Codec(LATER, AGGREGATES), len(history["commits"]))
    (data,) = [data for commit in commits for topic, data in commit.events if topic == "TaskSucceeded"]
    assert data == {"task": 1, "attempt": 1, "worker": "w1", "output": OUTPUT}


async def test_the_projector_upcasts(publisher: Publisher, history: dict[str, Any], tmp_path: Path) -> None:
    commits = await followed(publisher, TolerantCodec(LATER, AGGREGATES), len(history["commits"]))
    database = SqliteDatabase(tmp_path / "readmodel")
    session = database.writer()
    projection = Projection(session)
    projection.project(commits)
    assert projection.poisoned == 0
    ((status, doc),) = session.rows("SELECT status, doc FROM jobs")
    session.close()
    assert status == history["state"]["status"]
    assert b'"w1"' in bytes(doc)


async def test_the_projector_of_an_older_release_does_not_misread_it(
    publisher: Publisher, history: dict[str, Any]
) -> None:
    """Today's class is version 1: an event of version 2 is nothing that it can fold."""
    commits = await followed(publisher, TolerantCodec(EVENTS, AGGREGATES), len(history["commits"]))
    topics = [topic for commit in commits for topic, _ in commit.events]
    stored = json.loads(history["commits"][1]["body"])["events"][0]
    assert ("TaskSucceeded" in topics) == (len(stored) == 2)


async def test_the_recorder_gives_the_library_what_it_upcasts_by(
    publisher: Publisher,
    nats_server: NatsServer,
    history: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(utils._topic_cache, "TaskSucceeded", Renamed)
    mapper: Mapper[UUID] = Mapper(transcoder=JSONTranscoder())

    def read() -> list[Any]:
        with JetStreamRecorder(
            nats_server.url, user="daybook", password=nats_server.password, kind="job"
        ) as recorder:
            events = recorder.select_events(id_of(history))
            told = recorder.select_notifications(start=1, limit=10)
            assert [event.state for event in told] == [event.state for event in events]
            return [mapper.to_domain_event(event) for event in events if event.topic == "TaskSucceeded"]

    (event,) = await asyncio.to_thread(read)
    assert isinstance(event, Renamed)
    assert (event.worker, event.output) == ("w1", OUTPUT)
    assert (event.originator_id, event.originator_version) == (id_of(history), 3)
    assert "class_version" not in vars(event)
