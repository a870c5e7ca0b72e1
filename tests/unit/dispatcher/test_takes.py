"""Held tasks are given to those who ask, each by one decision, and what is not given stays held."""

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from services.dispatcher import flow
from services.dispatcher.flow import Flow
from services.dispatcher.followup import FollowUp
from services.dispatcher.releases import Releases
from services.dispatcher.takes import Take, Takes
from shared.application.ports import JournalUnavailable
from shared.broker.subjects import PLACED
from shared.domain.graph import Graph
from shared.domain.values import Json
from tests.unit.dispatcher.test_desk import World


async def nothing(_job: UUID, _name: str, _at: int) -> None:
    pass


class Counter:
    """Takes over a desk that follows up, with one worker of ten slots, who takes."""

    def __init__(self, *, all_take: bool = True) -> None:
        self.flow = Flow()
        self.flow.set_slots("resize", 10, all_take=all_take)
        self.releases = Releases(self.flow)
        follow_up = FollowUp(self.flow, self.releases, nothing, lambda job, task: None)
        self.world = World(follow_up)
        self.releases.serve(self.world.desk)
        follow_up.serve(self.world.desk, None, None)  # type: ignore[arg-type]  # no children, no handlers
        self.releases.ready = True
        self.takes = Takes(self.flow, self.world.desk, self.releases, timedelta(seconds=60))

    async def hold(self, number: int = 1, **spec: Any) -> list[UUID]:
        """So many jobs whose task is held; nothing releases it before something is asked for."""
        jobs = [await self.world.accept(room=False, **spec) for _ in range(number)]
        self.releases.ready = False
        held = self.flow.waiting("resize") + number
        self.world.told()
        async with asyncio.timeout(30):
            while self.flow.waiting("resize") < held or self.releases._stale:
                await asyncio.sleep(0)
        self.releases.ready = True
        return jobs

    async def ask(self, number: int = 1, **more: Any) -> list[dict[str, Any]]:
        given: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()
        self.takes.ask(Take("resize", "w1", number, **more), given.set_result)
        return [json.loads(task) for task in await asyncio.wait_for(given, 30)]


async def test_a_held_task_is_released_and_claimed_by_one_commit_that_no_queue_gets() -> None:
    counter = Counter()
    (job,) = await counter.hold()
    (taken,) = await counter.ask()
    assert (taken["job"], taken["lease_seconds"]) == (str(job), 10.0)
    assert {name: taken["task"][name] for name in ("task", "attempt", "skill", "input")} == {
        "task": 1,
        "attempt": 1,
        "skill": "resize",
        "input": {"n": 1},
    }
    commit = counter.world.journal.commits[-1]
    assert [topic for topic, _ in commit.events] == ["TaskReleased", "TaskClaimed"]
    assert (commit.skill, commit.by) == ("@taken", "worker:w1")
    assert commit.events[1][1]["ahead"] is True
    assert counter.flow.in_flight("resize") == 1


async def test_what_is_taken_says_as_much_of_its_job_as_what_a_queue_delivers() -> None:
    counter = Counter()
    await counter.hold(metadata={"m": 1, "daybook.client": {"plan": "gold"}}, deadline=4_000_000_000_000_000)
    (taken,) = await counter.ask()
    ((_, released), _) = counter.world.journal.commits[-1].events
    told = {name: released[name] for name in ("metadata", "deadline")}
    assert told == {"metadata": {"m": 1}, "deadline": 4_000_000_000_000_000}
    assert {name: taken["task"][name] for name in told} == told


async def test_who_asks_for_more_than_is_held_gets_what_is_there() -> None:
    counter = Counter()
    jobs = await counter.hold(3)
    taken = await counter.ask(5)
    assert {one["job"] for one in taken} == {str(job) for job in jobs}
    assert await counter.ask(5) == []


async def test_nothing_is_given_before_the_past_is_known() -> None:
    counter = Counter()
    await counter.hold()
    counter.releases.ready = False
    assert await counter.ask() == []
    assert counter.flow.waiting("resize") == 1


async def test_one_that_was_cancelled_is_passed_over() -> None:
    counter = Counter()
    first, second = await counter.hold(2)
    counter.world.gate.clear()
    cancelling = asyncio.ensure_future(counter.world.ask(first, lambda job, facts: job.cancel(facts)))
    await asyncio.sleep(0)
    asked = asyncio.ensure_future(counter.ask())
    await asyncio.sleep(0)
    counter.world.gate.set()
    (taken,) = await asked
    await cancelling
    assert taken["job"] == str(second)
    assert counter.flow.in_flight("resize") == 1


async def test_what_the_journal_could_not_take_is_held_again() -> None:
    counter = Counter()
    (job,) = await counter.hold()
    counter.world.failures.append(JournalUnavailable("away"))
    counter.world.store_before_failing = False
    assert await counter.ask() == []
    assert counter.flow.in_flight("resize") == 0
    async with asyncio.timeout(30):
        while "TaskReleased" not in counter.world.topics(job):
            await asyncio.sleep(0.01)


async def test_one_that_may_run_too_short_to_lie_about_goes_to_its_queue() -> None:
    counter = Counter()
    (quick,) = await counter.hold(run_timeout=5)
    (slow,) = await counter.hold(run_timeout=50)
    (taken,) = await counter.ask(shortest=10.0)
    assert taken["job"] == str(slow)
    assert [c.skill for c in counter.world.journal.commits if c.id == quick][-1] == "resize"


async def test_one_that_wants_a_certain_worker_goes_to_where_that_is_found() -> None:
    counter = Counter()
    node: dict[str, Json] = {"kind": "task", "skill": "resize", "placement": {"worker": "w2"}}
    graph = Graph.parse({"entry": "a", "nodes": {"a": node}, "edges": []})
    (placed,) = await counter.hold(graph=graph, concurrency={"key": "k", "limit": 1})
    assert counter.world.topics(placed) == ["JobAccepted", "TaskQueued"]
    (other,) = await counter.hold()
    (taken,) = await counter.ask()
    assert taken["job"] == str(other)
    assert [c.skill for c in counter.world.journal.commits if c.id == placed][-1] == PLACED


async def test_what_was_taken_and_given_back_is_offered_again() -> None:
    counter = Counter()
    (job,) = await counter.hold()
    await counter.ask()
    await counter.world.ask(job, lambda job, facts: job.give_back(1, 1, "w1", facts))
    assert counter.world.topics(job)[-2:] == ["TaskReturned", "TaskReleased"]
    assert counter.flow.in_flight("resize") == 1, "its place is free, and it has a place in the queue again"


@pytest.mark.parametrize("all_take", [True, False])
async def test_the_queue_gets_what_nobody_asks_for_any_more(
    all_take: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "TAKERS_SECONDS", 3600.0)
    counter = Counter(all_take=all_take)
    jobs = await counter.hold(3)
    await counter.ask()
    counter.releases.changed("resize")

    def released() -> int:
        return sum("TaskReleased" in counter.world.topics(job) for job in jobs)

    async with asyncio.timeout(30):
        while released() < (1 if all_take else 3):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert released() == (1 if all_take else 3)
        monkeypatch.setattr(flow, "TAKERS_SECONDS", 0.0)
        while released() < 3:
            counter.releases.tick()
            await asyncio.sleep(0.01)
