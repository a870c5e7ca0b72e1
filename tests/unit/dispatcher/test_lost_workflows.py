"""A job whose workflow is nowhere ends with an error, once that is sure."""

import asyncio
from typing import Any

import pytest

from services.dispatcher import desk
from services.dispatcher.desk import Desk
from shared.application.expressions import evaluate
from shared.application.ports import JournalUnavailable
from shared.domain.errors import NotThere
from shared.domain.graph import Graph
from shared.domain.job import Job
from shared.domain.values import Status
from tests.unit.dispatcher.test_desk import GRAPH, World


class Missing:
    """Graphs that are not there for the first looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def known(self, job: Job) -> Graph | None:
        return None

    async def fetch(self, job: Job) -> Graph:
        self.looks -= 1
        if self.looks >= 0:
            raise NotThere("workflow", "w (version 1)")
        return GRAPH


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "LOOK_SECONDS", 0.01)


def world_with(looks: int) -> World:
    world = World()
    world.desk = Desk(world.journal, world.submit, Missing(looks), world.notes, evaluate, world.fold)
    world.tell_when_stored = True
    return world


async def ended(world: World, id_: Any) -> Job:
    async with asyncio.timeout(30):
        while True:
            recorded = await world.journal.load(Job, id_)
            assert recorded is not None
            if recorded.aggregate.is_ended:
                return recorded.aggregate
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("failures", [[], [JournalUnavailable("away")]])
async def test_a_job_whose_workflow_is_nowhere_fails_and_says_so(failures: list[Exception]) -> None:
    world = world_with(10**9)
    world.failures, world.store_before_failing = failures, False
    id_ = await world.accept()
    world.told()
    job = await ended(world, id_)
    assert job.status is Status.FAILED
    assert job.error is not None
    assert (job.error["kind"], job.error["code"]) == ("permanent", "no_workflow")
    assert str(job.error["message"]).startswith("the job cannot go on: ")
    assert "w (version 1)" in str(job.error["message"])
    assert world.topics(id_)[-2:] == ["TaskCancelled", "JobFailed"]
    async with asyncio.timeout(30):
        while len(world.desk):
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("quick")
async def test_a_job_whose_workflow_comes_a_little_later_goes_on() -> None:
    world = world_with(5)
    id_ = await world.accept()
    world.told()
    async with asyncio.timeout(30):
        while not world.notes.followed:
            await asyncio.sleep(0.01)
    assert world.notes.followed == [id_]
    assert world.topics(id_) == ["JobAccepted", "TaskReleased"]
