"""Tasks that want more of a worker than its skill."""

import asyncio
from typing import Any

import pytest

from tests.contract.avtomatika.worker.world import World
from tests.support.system import CLIENT_TOKEN

pytestmark = pytest.mark.connected


async def placed(world: World, **placement: Any) -> str:
    """A job whose one task is placed so."""
    name = world.named("placed")
    task = {"kind": "task", "skill": world.named("render"), "placement": placement}
    graph = {"nodes": {"work": task}, "edges": []}
    published = await world.client.put(f"/v1/workflows/{name}", json={"graph": graph})
    assert published.status_code in (200, 201), published.text
    answer = await world.client.post("/v1/jobs", json={"workflow": name, "input": {}})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


def skill(world: World, **facts: Any) -> dict[str, Any]:
    return {"name": world.named("render"), **facts}


async def test_a_task_with_needs_goes_only_to_a_worker_that_meets_them(world: World) -> None:
    small, large = world.worker("small"), world.worker("large")
    await small.register(skill(world), resources={"properties": {"ram_gb": 8}})
    await large.register(skill(world, version="2.0"), resources={"properties": {"ram_gb": 64}})
    waiting = asyncio.ensure_future(small.poll(3))
    job = await placed(world, resources={"properties": {"ram_gb": 32}}, skill_version="2.0")
    task = await large.task()
    assert task["job_id"] == job
    assert (await waiting).status_code == 204
    assert (await large.result(task, data={"by": "large"}))["status"] == "accepted"
    assert (await world.ended(job))["output"] == {"by": "large"}


async def test_the_cheapest_worker_gets_the_task(world: World) -> None:
    dear, cheap = world.worker("dear"), world.worker("cheap")
    name = world.named("render")
    await dear.register(skill(world), capabilities={"cost_per_skill": {name: 9}})
    await cheap.register(skill(world), capabilities={"cost_per_skill": {name: 1}})
    unlucky = asyncio.ensure_future(dear.poll(3))
    lucky = asyncio.ensure_future(cheap.poll(20))
    job = await placed(world, strategy="cheapest")
    assert (await lucky).json()["job_id"] == job
    assert (await unlucky).status_code == 204


async def test_without_a_word_of_it_the_worker_that_has_the_skill_loaded_is_first_then_the_cheapest(
    world: World,
) -> None:
    dear, cheap, hot = (world.worker(name) for name in ("dear", "cheap", "hot"))
    name = world.named("render")
    for worker, price in ((dear, 9), (cheap, 1), (hot, 5)):
        await worker.register(skill(world), capabilities={"cost_per_skill": {name: price}})
    await hot.beat({"status": "idle", "hot_skills": [name]})
    waits = ((dear, 5), (cheap, 40), (hot, 40))  # the first gets nothing, the others as soon as there is work
    polls = {worker.name: asyncio.ensure_future(worker.poll(seconds)) for worker, seconds in waits}
    for worker in (dear, cheap, hot):
        assert (await worker.beat()).status_code == 200  # sent after the polls, so they wait by now
    for best in (hot, cheap):
        job = await world.submit(name)
        task = (await polls.pop(best.name)).json()
        assert task["job_id"] == job
        await best.result(task, data={})
    assert (await polls.pop(dear.name)).status_code == 204
    told = await world.http.get("/api/v1/workers", headers={"X-Client-Token": CLIENT_TOKEN})
    assert {w["worker_id"]: w.get("hot_skills") for w in told.json()}[hot.name] == [name]
    await hot.beat({"status": "idle", "hot_skills": []})
    told = await world.http.get("/api/v1/workers", headers={"X-Client-Token": CLIENT_TOKEN})
    assert {w["worker_id"]: w.get("hot_skills") for w in told.json()}[hot.name] == []


async def test_a_task_for_one_worker_waits_for_it(world: World) -> None:
    other, wanted = world.worker("other"), world.worker("wanted")
    await other.register(skill(world))
    job = await placed(world, worker=wanted.name)
    assert (await other.poll(1.5)).status_code == 204
    await wanted.register(skill(world))
    assert (await wanted.task())["job_id"] == job


async def test_a_placed_task_is_still_for_skills_of_the_same_name_only(world: World) -> None:
    worker = world.worker()
    await worker.register({"name": world.named("sing")})
    await placed(world, strategy="round_robin")
    assert (await worker.poll(1)).status_code == 204
