"""The desk: one decision at a time for a job, and the truth is what the journal has."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import msgspec.structs
import pytest

from services.dispatcher.desk import Desk
from services.dispatcher.ports import Watcher
from services.dispatcher.slots import Command, Done, Missing, Outcome, Refused, Slot, Unavailable
from shared.application.expressions import evaluate
from shared.application.ids import new_id
from shared.application.ports import Decision, JournalUnavailable, UnknownOutcome
from shared.domain.errors import DomainError
from shared.domain.graph import Graph
from shared.domain.job import Facts, Job, JobSpec, Verdict
from shared.domain.topics import AGGREGATES, EVENTS
from shared.journal.memory import MemoryJournal

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
GRAPH = Graph.of_skill("resize")


class OneGraph:
    def known(self, job: Job) -> Graph | None:
        return GRAPH

    async def fetch(self, job: Job) -> Graph:
        return GRAPH


class Notes:
    """A watcher that remembers what it was told."""

    def __init__(self) -> None:
        self.observed: list[tuple[UUID, str]] = []
        self.followed: list[UUID] = []

    def observe(self, id: UUID, events: Sequence[tuple[str, Mapping[str, Any]]]) -> None:  # noqa: A002
        self.observed += [(id, topic) for topic, _ in events]

    def follow_up(self, slot: Slot, topics: Sequence[tuple[str, Mapping[str, Any]]] = ()) -> None:
        self.followed.append(slot.id)

    def room(self) -> Callable[[str], bool]:
        return lambda skill: True


class World:
    """A desk over a journal in memory, whose answers can be made to fail."""

    def __init__(self, watcher: Watcher | None = None) -> None:
        self.journal = MemoryJournal(EVENTS, AGGREGATES)
        self.notes = Notes()
        self.failures: list[Exception] = []
        self.store_before_failing = True
        self.tell_when_stored = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.appends = 0
        self.desk = Desk(self.journal, self.submit, OneGraph(), watcher or self.notes, evaluate, self.fold)

    def fold(self, commit: Any) -> Job:
        job = self.journal.codec.fold(Job, [commit])
        assert job is not None
        return job

    def submit(self, decision: Decision) -> tuple[asyncio.Future[int], bytes]:
        commits = self.journal.codec.encode(decision)
        from shared.journal.chain import tip_of

        return asyncio.ensure_future(self._append(decision)), tip_of(commits[-1].raw)

    async def _append(self, decision: Decision) -> int:
        self.appends += 1
        await self.gate.wait()
        if self.failures:
            failure = self.failures.pop(0)
            if self.store_before_failing:
                await self.journal.append(decision)
            raise failure
        stored = await self.journal.append(decision)
        if self.tell_when_stored:
            self.told()
        return stored.sequence

    async def accept(self, *, room: bool = True, graph: Graph = GRAPH, **spec: Any) -> UUID:
        """A job that the API accepted, and released if it saw room."""
        id_ = new_id()
        facts = Facts(NOON, graph, evaluate, has_room=lambda skill: room)
        job = Job.accept(id_, JobSpec(skill="resize", input={"n": 1}, **spec), facts)
        await self.journal.append(Decision("job", id_, job.collect_events(), "client:test"))  # type: ignore[arg-type]
        return id_

    async def ask(self, id: UUID, act: Callable[[Job, Facts], object]) -> Outcome:  # noqa: A002
        heard: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.desk.post(id, Command(act, heard.set_result))
        return await asyncio.wait_for(heard, 30)

    def told(self) -> None:
        """The journal tells the desk of all that it has not told yet."""
        self.desk.take_in(self.journal.commits[self.desk.position :])

    def topics(self, id: UUID) -> list[str]:  # noqa: A002
        return [topic for commit in self.journal.commits if commit.id == id for topic, _ in commit.events]


@pytest.fixture
async def world() -> World:
    return World()


def progress(tenths: int, job: Job, facts: Facts) -> Verdict:
    return job.progress(1, 1, "w1", tenths / 10, None, facts)


def succeed(job: Job, facts: Facts) -> Verdict:
    return job.succeed(1, 1, "w1", {"ok": 1}, facts)


async def test_a_report_that_comes_before_the_journal_tells_of_its_job_is_decided(world: World) -> None:
    id_ = await world.accept()
    outcome = await world.ask(id_, succeed)
    assert isinstance(outcome, Done)
    assert outcome.answer == Verdict(accepted=True)
    assert world.topics(id_) == ["JobAccepted", "TaskReleased", "TaskSucceeded", "JobSucceeded"]


async def test_watchers_see_each_event_once_and_in_order_even_when_the_report_was_faster(
    world: World,
) -> None:
    id_ = await world.accept()
    await world.ask(id_, succeed)
    world.told()
    assert [topic for _, topic in world.notes.observed] == world.topics(id_)


async def test_watchers_see_each_event_once_when_the_journal_was_faster(world: World) -> None:
    id_ = await world.accept()
    world.told()
    await world.ask(id_, succeed)
    world.told()
    assert [topic for _, topic in world.notes.observed] == world.topics(id_)


async def test_what_a_decision_asks_for_is_looked_at_again_once_all_before_it_was_observed(
    world: World,
) -> None:
    # The books of flow control may count a task as in flight until then, and hold it not a second time.
    id_ = await world.accept()
    assert isinstance(await world.ask(id_, partial(progress, 5)), Done)
    assert world.notes.observed == []
    followed = len(world.notes.followed)
    world.told()
    assert world.notes.observed[-1] == (id_, "TaskProgressed")
    assert len(world.notes.followed) == followed + 1


async def test_a_decision_from_before_the_start_is_followed_up(world: World) -> None:
    id_ = await world.accept()
    recorded = await world.journal.load(Job, id_)
    assert recorded is not None
    recorded.aggregate.pause(Facts(NOON, GRAPH, evaluate), "client:test")
    events = recorded.aggregate.collect_events()
    await world.journal.append(Decision("job", id_, events, "before", recorded.tip))  # type: ignore[arg-type]
    world.desk.position = 1  # the first commit is older than where the journal goes on
    world.told()
    async with asyncio.timeout(30):
        while world.notes.followed != [id_]:
            await asyncio.sleep(0.01)


async def test_an_ended_job_leaves_the_desk_when_the_journal_has_told_its_end(world: World) -> None:
    id_ = await world.accept()
    world.told()
    await world.ask(id_, succeed)
    assert len(world.desk) == 1
    world.told()
    assert len(world.desk) == 0


async def test_an_ended_job_leaves_the_desk_when_the_journal_tells_before_it_answers(world: World) -> None:
    id_ = await world.accept()
    world.told()
    world.gate.clear()
    asked = asyncio.ensure_future(world.ask(id_, succeed))
    while not world.appends:
        await asyncio.sleep(0)
    world.tell_when_stored = True
    world.gate.set()
    await asked
    assert len(world.desk) == 0


async def test_a_job_that_is_nowhere_is_missing(world: World) -> None:
    assert await world.ask(new_id(), succeed) == Missing()
    assert len(world.desk) == 0


async def test_a_lost_race_is_decided_again_from_what_the_winner_stored(world: World) -> None:
    id_ = await world.accept()
    world.told()
    recorded = await world.journal.load(Job, id_)
    assert recorded is not None
    other = recorded.aggregate
    other.cancel(Facts(NOON, GRAPH, evaluate), "not wanted", "client:test")
    await world.journal.append(Decision("job", id_, other.collect_events(), "client:test", recorded.tip))  # type: ignore[arg-type]

    outcome = await world.ask(id_, succeed)

    assert isinstance(outcome, Done)
    assert outcome.answer == Verdict(accepted=False, reason="cancelled")
    assert "JobSucceeded" not in world.topics(id_)


async def test_a_stored_decision_whose_answer_was_lost_is_not_made_twice(world: World) -> None:
    id_ = await world.accept()
    world.told()
    world.failures = [UnknownOutcome("job", id_, 3)]
    outcome = await world.ask(id_, succeed)
    assert isinstance(outcome, Done)
    assert outcome.answer == Verdict(accepted=True)
    assert world.topics(id_).count("JobSucceeded") == 1


async def test_a_decision_that_was_not_stored_is_made_again_after_an_unknown_outcome(world: World) -> None:
    id_ = await world.accept()
    world.told()
    world.failures, world.store_before_failing = [UnknownOutcome("job", id_, 3)], False
    outcome = await world.ask(id_, succeed)
    assert isinstance(outcome, Done)
    assert world.topics(id_).count("JobSucceeded") == 1


async def test_nothing_is_answered_as_done_when_the_journal_is_away(world: World) -> None:
    id_ = await world.accept()
    world.told()
    world.failures, world.store_before_failing = [JournalUnavailable("away")], False
    assert isinstance(await world.ask(id_, succeed), Unavailable)
    again = await world.ask(id_, succeed)
    assert isinstance(again, Done)
    assert again.changed


async def test_the_second_report_waits_until_the_first_is_stored(world: World) -> None:
    id_ = await world.accept()
    world.told()
    world.gate.clear()
    first = asyncio.ensure_future(world.ask(id_, succeed))
    second = asyncio.ensure_future(world.ask(id_, succeed))
    while not world.appends:
        await asyncio.sleep(0)
    assert not first.done()
    assert not second.done()
    world.gate.set()
    one, two = await first, await second
    assert isinstance(one, Done)
    assert isinstance(two, Done)
    assert (one.changed, two.changed) == (True, False)
    assert world.topics(id_).count("JobSucceeded") == 1


async def test_what_the_domain_refuses_changes_nothing(world: World) -> None:
    id_ = await world.accept()
    world.told()
    outcome = await world.ask(id_, lambda job, facts: job.approve("yes", facts, "user:a"))
    assert isinstance(outcome, Refused)
    assert isinstance(outcome.problem, DomainError)
    assert world.topics(id_) == ["JobAccepted", "TaskReleased"]


async def test_a_command_that_breaks_half_way_leaves_nothing_for_the_next_one_to_store(world: World) -> None:
    id_ = await world.accept()

    def breaks(job: Job, facts: Facts) -> None:
        job.succeed(1, 1, "w1", {"ok": 1}, facts)
        raise KeyError("a bug")

    assert isinstance(await world.ask(id_, breaks), Unavailable)
    await world.ask(id_, lambda job, facts: job.pause(facts, by="test"))
    assert world.topics(id_) == ["JobAccepted", "TaskReleased", "JobPaused"]


async def test_idle_jobs_are_forgotten_beyond_the_capacity_and_read_again_when_asked_for(
    world: World,
) -> None:
    world.desk = Desk(world.journal, world.submit, OneGraph(), world.notes, evaluate, world.fold, capacity=10)
    ids = [await world.accept() for _ in range(20)]
    world.told()
    assert len(world.desk) < 11
    outcome = await world.ask(ids[0], succeed)
    assert isinstance(outcome, Done)
    assert outcome.changed


async def test_a_new_job_is_followed_up(world: World) -> None:
    id_ = await world.accept()
    world.told()
    assert world.notes.followed == [id_]


async def test_a_commit_that_makes_no_sense_is_passed_over_and_the_rest_is_seen(world: World) -> None:
    bad = await world.accept()
    good = await world.accept()
    broken = msgspec.structs.replace(world.journal.commits[0], events=[("NoSuchEvent", {})])
    world.desk.take_in([broken, world.journal.commits[1]])
    assert world.desk.position == 2
    assert good in world.notes.followed
    assert bad not in world.notes.followed


async def test_a_late_report_of_an_ended_job_does_not_keep_it_on_the_desk(world: World) -> None:
    id_ = await world.accept()
    world.told()
    await world.ask(id_, succeed)
    world.told()
    outcome = await world.ask(id_, succeed)
    assert isinstance(outcome, Done)
    assert not outcome.changed
    assert len(world.desk) == 0


async def test_what_came_while_a_decision_was_on_its_way_is_stored_as_one(world: World) -> None:
    id_ = await world.accept()
    world.told()
    world.gate.clear()
    asked = [asyncio.ensure_future(world.ask(id_, partial(progress, part))) for part in range(1, 6)]
    while not world.appends:
        await asyncio.sleep(0)
    world.gate.set()
    outcomes = await asyncio.gather(*asked)
    assert all(isinstance(outcome, Done) and outcome.changed for outcome in outcomes)
    assert world.appends == 2
    assert world.topics(id_).count("TaskProgressed") == 5


async def test_of_several_commands_decided_together_none_is_lost_with_the_race(world: World) -> None:
    id_ = await world.accept()
    world.told()
    world.gate.clear()
    first = asyncio.ensure_future(world.ask(id_, partial(progress, 1)))
    while not world.appends:
        await asyncio.sleep(0)
    others = [asyncio.ensure_future(world.ask(id_, partial(progress, part))) for part in (2, 3)]
    await asyncio.sleep(0)
    world.failures = [UnknownOutcome("job", id_, 3), UnknownOutcome("job", id_, 4)]
    world.gate.set()
    outcomes = await asyncio.gather(first, *others)
    assert all(isinstance(outcome, Done) for outcome in outcomes)
    assert world.topics(id_).count("TaskProgressed") == 3


async def test_a_refusal_among_commands_decided_together_hurts_only_the_refused(world: World) -> None:
    id_ = await world.accept()
    world.told()
    world.gate.clear()
    first = asyncio.ensure_future(world.ask(id_, partial(progress, 1)))
    while not world.appends:
        await asyncio.sleep(0)
    refused = asyncio.ensure_future(world.ask(id_, lambda job, facts: job.approve("yes", facts, "user:a")))
    good = asyncio.ensure_future(world.ask(id_, succeed))
    await asyncio.sleep(0)
    world.gate.set()
    assert isinstance(await refused, Refused)
    outcome = await good
    assert isinstance(outcome, Done)
    assert outcome.changed
    assert isinstance(await first, Done)
