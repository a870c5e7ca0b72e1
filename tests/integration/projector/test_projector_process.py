"""The projector as a process: it follows, survives, tells, and rebuilds."""

import asyncio
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import orjson
import pytest

from shared.application.clock import utc_now
from shared.application.collecting import collected
from shared.application.expressions import evaluate
from shared.application.ids import new_id
from shared.application.ports import Decision
from shared.broker.subjects import id_token
from shared.domain.graph import Graph
from shared.domain.job import Facts, Job, JobSpec
from shared.readmodels.digest import digest
from shared.readmodels.projection import Projection
from shared.readmodels.queries import JobFilter
from shared.readmodels.sqlite import SqliteDatabase
from tests.integration.projector.conftest import World
from tests.support.nats import NatsServer

pytestmark = pytest.mark.connected
GRAPH = Graph.of_skill("resize")


def facts() -> Facts:
    return Facts(now=utc_now(), graph=GRAPH, evaluate=evaluate)


async def finished(world: World, count: int) -> list[UUID]:
    """`count` jobs that were accepted and then succeeded, at once."""

    async def one() -> UUID:
        spec = JobSpec(skill="resize", input={"n": 1}, tenant="default", definition=GRAPH.hash)
        job = Job.accept(new_id(), spec, facts())
        appended = await world.journal.append(Decision("job", job.id, collected(job), "client:test"))
        job.claim(1, 1, "w1", timedelta(seconds=60), facts())
        job.succeed(1, 1, "w1", {"n": 2}, facts())
        decision = Decision("job", job.id, collected(job), "worker:w1", appended.tip)
        await world.journal.append(decision)
        return job.id

    return await asyncio.gather(*(one() for _ in range(count)))


async def rebuilt_by_hand(world: World, folder: Path) -> str:
    """The digest of a store that this test made from the journal."""
    last = await world.journal.last_sequence()
    database = SqliteDatabase(folder)
    session = database.writer()
    projection = Projection(session)
    async for commits in world.journal.follow(0):
        if projection.project(commits) >= last:
            break
    with session.snapshot():
        result = digest(session)
    session.close()
    return result


def served_digest(world: World) -> str:
    session = world.database.reader()
    with session.snapshot():
        result = digest(session)
    session.close()
    return result


async def test_jobs_appear_and_the_process_stops_in_order(world: World) -> None:
    await world.start()
    (job,) = await finished(world, 1)
    await world.caught_up()
    found = await world.reads.job(job)
    assert found is not None
    assert (found.status, found.input, found.output) == ("succeeded", {"n": 1}, {"n": 2})
    assert [each.id for each in (await world.reads.page(JobFilter("default"))).jobs] == [str(job)]
    assert await world.stop() == 0


async def test_a_projector_killed_again_and_again_loses_and_doubles_nothing(
    world: World, tmp_path: Path
) -> None:
    await world.start()
    for _ in range(4):
        submitting = asyncio.create_task(finished(world, 150))
        last = await world.journal.last_sequence()
        # Kill it in the middle of the work: behind the first commits of this round.
        await world.reached(last + 20)
        await world.kill()
        await submitting
        await world.start()
    await world.caught_up()
    assert await world.reads.counts() == {"succeeded": 600}
    assert await world.reads.poison_count() == 0
    assert served_digest(world) == await rebuilt_by_hand(world, tmp_path / "by-hand")


async def test_a_projector_goes_on_after_the_broker_was_killed(world: World, nats_server: NatsServer) -> None:
    await world.start()
    await finished(world, 5)
    await world.caught_up()
    await nats_server.restart()
    await finished(world, 5)
    await world.caught_up()
    assert await world.reads.counts() == {"succeeded": 10}


async def test_the_position_is_told_after_each_transaction(world: World) -> None:
    told: asyncio.Queue[int] = asyncio.Queue()
    await world.connection.listen(
        "projector.position",
        lambda subject, reply, header, payload: told.put_nowait(orjson.loads(payload)["position"]),
    )
    await world.start()
    assert await asyncio.wait_for(told.get(), 30) == 0
    await finished(world, 1)
    last = await world.journal.last_sequence()
    position = 0
    while position < last:
        position = await asyncio.wait_for(told.get(), 30)
        assert await world.reads.position() >= position
    assert position == last


async def test_a_rebuild_on_request_tells_how_far_it_is_and_that_both_are_equal(world: World) -> None:
    await world.start()
    await finished(world, 50)
    last = await world.caught_up()
    before = world.database.served()
    *progress, result = await world.ask({"command": "rebuild"})
    assert {each["phase"] for each in progress} >= {"comparing", "swapping"}
    assert result["ok"]
    assert result["equal"]
    assert result["swapped"]
    assert (result["position"], result["difference"]) == (last, None)
    assert world.database.served() != before
    assert result["digest"] == served_digest(world)
    await finished(world, 1)
    await world.caught_up()
    assert await world.reads.counts() == {"succeeded": 51}


async def test_a_verification_names_the_row_that_differs(world: World) -> None:
    await world.start()
    (job, *_) = await finished(world, 3)
    await world.caught_up()
    spoil = world.database.writer()
    spoil.write("UPDATE jobs SET status = 'queued' WHERE id = ?", [(job.bytes,)])
    spoil.close()
    *_, verified = await world.ask({"command": "verify"})
    assert verified["ok"]
    assert not verified["equal"]
    assert verified["difference"]["table"] == "jobs"
    assert "'queued'" in verified["difference"]["served"]
    *_, rebuilt = await world.ask({"command": "rebuild"})
    assert not rebuilt["equal"]
    *_, again = await world.ask({"command": "verify"})
    assert again["equal"]


async def test_the_status_tells_the_lag_and_nonsense_is_refused(world: World) -> None:
    await world.start()
    await finished(world, 1)
    last = await world.caught_up()
    (status,) = await world.ask({"command": "status"})
    assert (status["position"], status["last_sequence"], status["lag"]) == (last, last, 0)
    refused: list[object] = [{"command": "dance"}, {}, [], "x"]
    for nonsense in refused:
        (answer,) = await world.ask(nonsense)
        assert not answer["ok"]
        assert answer["error"]


async def test_what_cannot_be_read_is_kept_as_poison_and_stops_nothing(world: World) -> None:
    await world.start()
    job = str(new_id())
    commit = {"id": job, "kind": "job", "n": 1, "at": 1, "by": "x"}
    bodies = [
        b"{",
        b"\xff",
        b"[]",
        b"null",
        orjson.dumps({}),
        orjson.dumps({**commit, "events": None}),
        orjson.dumps({**commit, "events": [[]]}),
        orjson.dumps({**commit, "id": 7, "events": []}),
        orjson.dumps({**commit, "events": [["JobEnchanted", {}]]}),
        orjson.dumps({**commit, "events": [["JobAccepted", {}, 99]]}),
        orjson.dumps({**commit, "at": "noon", "events": [["JobAccepted", {}]]}),
        orjson.dumps({**commit, "n": None, "events": [["JobAccepted", {}]]}),
    ]
    for number, body in enumerate(bodies, 1):
        subject = f"journal.job.{id_token(UUID(job))}.{number}.note"
        await world.connection.jetstream().publish(subject, body)
    await finished(world, 2)
    await world.caught_up()
    assert await world.reads.counts() == {"succeeded": 2}
    poison = await world.reads.poison()
    assert [each.raw for each in reversed(poison)] == bodies
    assert {each.id for each in poison} == {job}
    assert "class version 99" in poison[2].reason
    (status,) = await world.ask({"command": "status"})
    assert status["poisoned"] == len(bodies)
