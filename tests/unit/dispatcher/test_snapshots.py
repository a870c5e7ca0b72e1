"""Who keeps snapshots: when one is taken, that it is what the journal has, and that nobody waits for it."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

import pytest

from services.dispatcher.desk import Desk
from services.dispatcher.slots import Command, Done, Outcome
from services.dispatcher.snapshots import SnapshotKeeper
from shared.application.expressions import evaluate
from shared.application.ids import new_id
from shared.application.ports import Decision, JournalUnavailable
from shared.domain.graph import Graph
from shared.domain.job import Facts, Job, JobSpec
from shared.domain.topics import AGGREGATES, EVENTS
from shared.journal.job_states import JobStates
from shared.journal.memory import MemoryJournal
from shared.journal.snapshots import Kind, MemorySnapshots, Snapshots
from tests.unit.dispatcher.test_desk import Notes

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
GRAPH = Graph.parse(
    {
        "nodes": {
            "loop": {"kind": "loop", "while": "true", "max_iterations": 9_000},
            "body": {"kind": "task", "skill": "work"},
        },
        "edges": [{"from": "loop", "port": "body", "to": "body"}, {"from": "body", "to": "loop"}],
        "max_transitions": 100_000,
    }
)


class LoopGraphs:
    def known(self, job: Job) -> Graph | None:
        return GRAPH

    async def fetch(self, job: Job) -> Graph:
        return GRAPH


class CountingStore(MemorySnapshots):
    """Counts what is written, and can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.puts: list[int] = []
        self.away = False

    async def put(self, snapshots: Mapping[tuple[str, UUID], bytes]) -> None:
        if self.away:
            raise JournalUnavailable("away")
        self.puts.append(len(snapshots))
        await super().put(snapshots)


class World:
    """A desk whose jobs loop, over a journal in memory."""

    def __init__(self, every: int = 20) -> None:
        self.store = CountingStore()
        self.every = every
        self.snapshots = Snapshots(self.store, {Job: Kind("job", JobStates())}, first_commits=0)
        self.journal = MemoryJournal(EVENTS, AGGREGATES, self.snapshots)
        self.start()

    def start(self) -> None:
        """A new dispatcher over what the journal and the store have."""
        self.keeper = SnapshotKeeper(self.snapshots, self.every)
        self.desk = Desk(
            *(self.journal, self.journal.submit, LoopGraphs(), Notes(), evaluate, lambda commit: None),  # type: ignore[arg-type]
            keeper=self.keeper,
        )

    async def accept(self) -> UUID:
        id_ = new_id()
        job = Job.accept(id_, JobSpec(workflow="w"), Facts(NOON, GRAPH, evaluate))
        await self.journal.append(Decision("job", id_, job.collect_events(), "client:test"))  # type: ignore[arg-type]
        return id_

    async def ask(self, id: UUID, command: str = "succeed") -> Job:  # noqa: A002

        heard: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def act(job: Job, facts: Facts) -> None:
            if command == "cancel":
                job.cancel(facts)
            else:
                (number,) = job.live_tasks
                job.succeed(number, 1, "w", {"n": number}, facts)

        self.desk.post(id, Command(act, heard.set_result))
        outcome = await asyncio.wait_for(heard, 30)
        assert isinstance(outcome, Done)
        return outcome.job

    async def iterate(self, id: UUID, events: int) -> Job:  # noqa: A002
        job = await self.ask(id)
        while job.version < events:
            job = await self.ask(id)
        return job


@pytest.fixture
async def world() -> World:
    return World()


async def test_a_short_job_leaves_no_snapshot(world: World) -> None:
    id_ = await world.accept()
    await world.iterate(id_, 15)
    await world.keeper.flush()
    assert world.store.kept == {}


async def test_a_long_job_is_loaded_from_its_snapshot_by_the_next_dispatcher(world: World) -> None:
    id_ = await world.accept()
    job = await world.iterate(id_, 50)
    await world.keeper.flush()
    world.start()

    again = await world.ask(id_)

    assert world.snapshots.counts["used"] == 1
    assert again.version > job.version
    plain = await _without_snapshots(world.journal).load(Job, id_)
    assert plain is not None
    assert plain.aggregate.outputs == again.outputs
    assert plain.aggregate.tasks == again.tasks


async def test_a_snapshot_is_taken_each_so_many_events_and_no_more(world: World) -> None:
    id_ = await world.accept()
    for _ in range(40):
        await world.ask(id_)
        await world.keeper.flush()
    job = await world.ask(id_)
    assert job.version // 20 - 1 <= len(world.store.puts) <= job.version // 20


async def test_snapshots_of_many_jobs_are_written_together(world: World) -> None:
    for id_ in [await world.accept() for _ in range(5)]:
        await world.iterate(id_, 25)
    await world.keeper.flush()
    assert world.store.puts == [5]


async def test_of_several_snapshots_of_a_job_only_the_newest_is_written(world: World) -> None:
    id_ = await world.accept()
    await world.iterate(id_, 90)
    await world.keeper.flush()
    assert world.store.puts == [1]
    recorded = await world.journal.load(Job, id_)
    assert recorded is not None
    assert recorded.snapshot > 60


async def test_a_job_that_was_loaded_from_its_commits_gets_one(world: World) -> None:
    id_ = await world.accept()
    await world.iterate(id_, 50)
    world.start()  # what was taken is lost with the process
    assert world.store.kept == {}
    await world.ask(id_)
    await world.keeper.flush()
    assert list(world.store.kept) == [("job", id_)]


async def test_the_end_of_a_job_removes_its_snapshot(world: World) -> None:
    id_ = await world.accept()
    await world.iterate(id_, 50)
    await world.keeper.flush()
    assert world.store.kept
    world.start()
    await world.ask(id_, "cancel")
    await world.keeper.flush()
    assert world.store.kept == {}


async def test_a_job_that_ends_before_its_snapshot_is_written_leaves_none(world: World) -> None:
    id_ = await world.accept()
    await world.iterate(id_, 50)
    await world.ask(id_, "cancel")
    await world.keeper.flush()
    assert world.store.kept == {}


async def test_what_cannot_be_written_costs_nothing_and_is_taken_again(world: World) -> None:
    id_ = await world.accept()
    world.store.away = True
    await world.iterate(id_, 50)
    await world.keeper.flush()
    world.store.away = False
    await world.iterate(id_, 100)
    await world.keeper.flush()
    assert world.store.puts == [1]


def _without_snapshots(journal: MemoryJournal) -> MemoryJournal:
    plain = MemoryJournal(EVENTS, AGGREGATES)
    plain.commits, plain._of = journal.commits, journal._of
    return plain
