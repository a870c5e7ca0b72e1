"""A handler whose action cannot be decided is a failure of its job, and no loop."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from services.dispatcher import followup
from services.dispatcher.desk import Desk
from services.dispatcher.flow import Flow
from services.dispatcher.followup import BREAKS, FollowUp
from services.dispatcher.releases import Releases
from shared.application.expressions import evaluate
from shared.application.ids import new_id
from shared.application.ports import Decision, JournalUnavailable
from shared.domain.graph import Graph
from shared.domain.job import Facts, GoTo, Job, JobSpec, RunHandler
from shared.domain.values import Status
from tests.unit.dispatcher.test_desk import NOON, World
from tests.unit.dispatcher.test_followup import nothing
from tests.unit.domain.test_handlers import states

Act = Callable[[Job, Facts], object]


class States:
    def known(self, job: Job) -> Graph | None:
        return states()

    async def fetch(self, job: Job) -> Graph:
        return states()


class Handling:
    """A job in a state whose handler answers with `act`, or raises it."""

    def __init__(self, act: Act | Exception) -> None:
        self.act, self.runs = act, 0
        flow = Flow()
        releases = Releases(flow)
        follow_up = FollowUp(flow, releases, nothing, lambda job, task: None)
        self.world = World(follow_up)
        world = self.world
        world.desk = Desk(world.journal, world.submit, States(), follow_up, evaluate, world.fold)
        releases.serve(world.desk)
        follow_up.serve(world.desk, None, self.run)  # type: ignore[arg-type]  # no children
        self.stop = follow_up.stop

    async def run(self, job: Job, effect: RunHandler) -> Act:
        self.runs += 1
        if isinstance(self.act, Exception):
            raise self.act
        return self.act

    async def ended(self) -> Job:
        """The job, when it has ended."""
        id_ = new_id()
        job = Job.accept(id_, JobSpec(workflow="w", version=1), Facts(NOON, states(), evaluate))
        await self.world.journal.append(Decision("job", id_, job.collect_events(), "client:test"))  # type: ignore[arg-type]
        self.world.tell_when_stored = True
        self.world.told()
        async with asyncio.timeout(30):
            while True:
                recorded = await self.world.journal.load(Job, id_)
                assert recorded is not None
                if recorded.aggregate.is_ended:
                    await self.stop()
                    return recorded.aggregate
                await asyncio.sleep(0.01)


def said(job: Job) -> tuple[Any, ...]:
    assert job.error is not None
    return job.status, job.error["kind"], job.error["message"]


async def test_an_action_that_breaks_the_decision_each_time_fails_its_job_and_names_the_state() -> None:
    tries: list[int] = []

    def breaks(job: Job, facts: Facts) -> None:
        tries.append(job.version)
        job.act(1, GoTo("second"), facts)
        raise KeyError("a bug")

    handling = Handling(breaks)
    text = "node 'first': what its handler chose cannot be done (KeyError: 'a bug')"
    assert said(await handling.ended()) == (Status.FAILED, "permanent", text)
    assert tries == [2] * BREAKS, "each time on the job as it is stored"
    assert handling.runs == 1


async def test_an_action_that_cannot_be_written_down_fails_its_job() -> None:
    handling = Handling(lambda job, facts: job.act(1, GoTo("second", {"n": object()}), facts))  # type: ignore[dict-item]
    status, kind, text = said(await handling.ended())
    assert (status, kind) == (Status.FAILED, "permanent")
    assert text.startswith("node 'first': what its handler chose cannot be done (")


async def test_an_answer_that_cannot_be_read_fails_its_job() -> None:
    handling = Handling(TypeError("no such field"))
    text = "node 'first': what its handler chose cannot be done (TypeError: no such field)"
    assert said(await handling.ended()) == (Status.FAILED, "permanent", text)
    assert handling.runs == 1


async def test_an_action_that_breaks_once_is_decided_after_all() -> None:
    broken = [KeyError("a bug")]

    def act(job: Job, facts: Facts) -> None:
        if broken:
            raise broken.pop()
        job.act(1, GoTo("good"), facts)

    handling = Handling(act)
    assert (await handling.ended()).status is Status.SUCCEEDED
    assert handling.runs == 1


async def test_a_handler_is_run_again_while_the_journal_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followup, "PAUSE_SECONDS", 0.01)
    handling = Handling(lambda job, facts: job.act(1, GoTo("good"), facts))
    handling.world.failures = [JournalUnavailable("away")] * 5
    handling.world.store_before_failing = False
    assert (await handling.ended()).status is Status.SUCCEEDED
    assert handling.runs == 6
