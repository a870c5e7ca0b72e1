"""What a worker's results say of it decides who gets the next task."""

import asyncio
from typing import Any

import pytest

from tests.contract.avtomatika.worker.world import HttpWorker, World
from tests.support.system import CLIENT_TOKEN

pytestmark = pytest.mark.connected

BROKEN = {"code": "CONTRACT_VIOLATION_ERROR", "message": "not what it promised"}


async def shown(world: World, worker: HttpWorker) -> float:
    """The reputation in the list of workers."""
    answer = await world.http.get("/api/v1/workers", headers={"X-Client-Token": CLIENT_TOKEN})
    found: list[dict[str, Any]] = [one for one in answer.json() if one["worker_id"] == worker.name]
    return float(found[0]["reputation"])


async def until_shown(world: World, worker: HttpWorker, reputation: float) -> None:
    while await shown(world, worker) != pytest.approx(reputation):
        await asyncio.sleep(0.1)


async def breaks(world: World, worker: HttpWorker, skill: str, times: int) -> None:
    """The worker breaks its contract so often."""
    for _ in range(times):
        await world.submit(skill)
        task = await worker.task()
        await worker.result(task, status="failure", error=BROKEN)


async def test_a_worker_that_breaks_its_contracts_is_listed_lower_and_in_the_end_gets_nothing(
    world: World,
) -> None:
    bad, good, skill = world.worker("bad"), world.worker("good"), world.named("echo")
    await bad.register(skill)
    assert await shown(world, bad) == 1.0
    await breaks(world, bad, skill, 1)
    await until_shown(world, bad, 0.8)
    await breaks(world, bad, skill, 3)
    await until_shown(world, bad, 0.2)
    job = await world.submit(skill)
    assert (await bad.poll(1)).status_code == 204
    await good.register(skill)
    task = await good.task()
    assert task["job_id"] == job
    await good.result(task, status="success", data={})
    assert (await world.ended(job))["status"] == "succeeded"


async def test_between_equals_the_better_reputation_gets_the_task(world: World) -> None:
    bad, good, skill = world.worker("bad"), world.worker("good"), world.named("echo")
    await bad.register(skill)
    await breaks(world, bad, skill, 1)
    await until_shown(world, bad, 0.8)
    await good.register(skill)
    first = asyncio.ensure_future(bad.poll(5))
    second = asyncio.ensure_future(good.poll(20))
    for _ in range(5):  # requests that come behind the polls
        await shown(world, bad)
    job = await world.submit(skill)
    assert (await second).json()["job_id"] == job
    assert (await first).status_code == 204
