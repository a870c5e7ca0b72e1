"""One fault at a time on the whole system: what a person would see."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from tests.faults import backlog, load, workload
from tests.faults.checks import violations
from tests.faults.executions import most_at_once
from tests.faults.injections import injected
from tests.faults.ledger import Ledger
from tests.faults.scene import Scene, scene

pytestmark = [pytest.mark.connected, pytest.mark.slow]


async def test_a_dead_supervisor_leaves_nothing_behind_and_the_next_one_goes_on(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        job = await here.submit(skill="add", input={"x": 1})
        await here.system.kill("supervisor")
        assert await here.system.until_gone() == []
        await here.system.start()
        here.worker()
        assert await here.ended(job) == ["JobSucceeded"]
        assert await here.violations() == []


@pytest.mark.parametrize("seconds_in", [0.0, 1.5], ids=["fresh", "claimed"])
async def test_a_task_whose_worker_dies_runs_again_elsewhere(tmp_path: Path, seconds_in: float) -> None:
    async with scene(tmp_path) as here:
        first = here.worker("first")
        job = await here.submit(skill="add", input={"x": 1, "seconds": 6})
        await here.until(lambda: here.executions(job))
        # A task is claimed when it has run for a second: the two cases lose it on either side of that.
        await asyncio.sleep(seconds_in)
        here.worker("second")
        first.kill()
        assert await here.ended(job, timeout=120) == ["JobSucceeded"]
        assert [run.worker for run in here.executions(job)] == ["first", "second"]


async def test_a_worker_that_stood_still_past_its_lease_comes_back_to_a_refusal(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        first = here.worker("first")
        job = await here.submit(skill="add", input={"x": 1, "seconds": 3})
        await here.until(lambda: here.executions(job))
        first.pause()
        here.worker("second")
        assert await here.ended(job, timeout=120) == ["JobSucceeded"]
        first.resume()
        await here.until(lambda: all(run.ended_us for run in here.executions(job)))
        await here.until_queues_are_empty()
        events = (await here.evidence()).history.jobs[job]
        accepted = [event.fields["worker"] for event in events if event.topic == "TaskSucceeded"]
        assert accepted == ["second"]


async def test_one_key_is_one_job_however_often_and_through_whatever_it_is_sent(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.worker()
        order = workload.order("one", "the-only-key", 1)
        ledger = Ledger()
        async with asyncio.TaskGroup() as group:
            for _ in range(100):
                group.create_task(load.submit(here.client, order, ledger))
            await here.until(lambda: ledger.acknowledged_jobs)
            await here.system.kill("api")
        (job,) = ledger.acknowledged_jobs
        assert await here.ended(job) == ["JobSucceeded"]
        evidence = await here.evidence()
        evidence.ledger = ledger
        assert violations(evidence) == []
        assert len(evidence.history.jobs) == 1


async def test_a_parent_hears_of_its_child_from_a_dispatcher_that_did_not_see_it_start(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as here:
        here.worker()
        parent = await here.submit(workflow="child", input={"x": 1, "seconds": 4})
        await here.until(here.executions)
        await here.system.kill("dispatcher")
        assert await here.ended(parent) == ["JobSucceeded"]
        assert await here.violations() == []


async def test_a_child_is_cancelled_with_its_parent_though_the_dispatcher_dies_between_the_two(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path, injected("dies_before_it_cancels_children")) as here:
        here.worker()
        parent = await here.submit(workflow="child", input={"x": 1, "seconds": 30})
        await here.until(here.executions)
        answer = await here.client.post(f"/v1/jobs/{parent}/cancel", json={})
        assert answer.status_code == 200, answer.text
        await here.until((here.system.data / "the-dispatcher-died").exists)
        assert await here.ended(parent, here.executions()[0].job) == ["JobCancelled", "JobCancelled"]


async def test_a_running_job_that_is_cancelled_stops_and_its_worker_goes_on(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.worker(concurrency=1)
        job = await here.submit(skill="add", input={"x": 1, "seconds": 60})
        await here.until(lambda: here.executions(job))
        answer = await here.client.post(f"/v1/jobs/{job}/cancel", json={"reason": "a change of mind"})
        assert answer.status_code == 200, answer.text
        await here.until(lambda: here.executions(job)[0].ended_us)
        after = await here.submit(skill="add", input={"x": 1, "seconds": 0})
        assert await here.ended(job, after) == ["JobCancelled", "JobSucceeded"]
        assert await here.violations() == []


async def test_a_concurrency_key_is_never_exceeded_while_the_dispatcher_is_killed(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        workers = [here.worker("w1"), here.worker("w2")]
        request = {
            "skill": "add",
            "input": {"x": 1, "seconds": 0.3},
            "concurrency": {"key": "scarce", "limit": 5},
        }
        answer = await here.client.post("/v1/jobs/bulk", json={"jobs": [request] * 80})
        jobs = [UUID(item["job_id"]) for item in answer.json()["items"]]
        for done in (10, 25, 40):
            await here.until(_ran(here, done))
            await here.system.kill("dispatcher")
        ends = await here.ended(*jobs, timeout=120)
        assert set(ends) == {"JobSucceeded"}
        assert most_at_once(here.executions()) == 5
        assert await here.violations() == []
        assert len(workers) == 2


async def test_a_backlog_is_served_by_urgency_and_in_turn_between_tenants(tmp_path: Path) -> None:
    async with scene(tmp_path, backlog.ENVIRONMENT) as here:
        jobs = await backlog.fill(here, 600, seed=7)
        here.worker(concurrency=1)
        await here.ended(*jobs, timeout=120)
        assert backlog.problems(jobs, here.executions()) == []
        assert await here.violations() == []


def _ran(here: Scene, count: int) -> Callable[[], bool]:
    return lambda: len(here.executions()) >= count
