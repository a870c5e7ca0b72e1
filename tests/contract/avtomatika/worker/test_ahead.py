"""What is claimed for a fast worker before it asks survives the worker, and the process that claimed it."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from daybook import Worker
from tests.contract.avtomatika.worker.world import HttpWorker, World
from tests.support.system import WORKER_TOKEN, System

pytestmark = pytest.mark.connected

JOBS = 60


async def submit(world: World, skill: str, number: int = JOBS) -> list[str]:
    answer = await world.client.post("/v1/jobs/bulk", json={"jobs": [{"skill": skill, "input": {}}] * number})
    assert answer.status_code in (200, 202), answer.text
    return [item["job_id"] for item in answer.json()["items"]]


async def work(worker: HttpWorker, tasks: int, at_once: int = 5) -> None:
    """Take so many tasks as fast as it goes: several at once, to count as fast on a slow machine too."""
    left = iter(range(tasks))

    async def one_after_the_other() -> None:
        for _ in left:
            assert (await worker.result(await worker.task(), status="success"))["status"] == "accepted"

    await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))


async def histories(world: World, jobs: list[str]) -> list[dict[str, list[dict[str, Any]]]]:
    """For each job, the data of its events by their type."""
    found = []
    for job in jobs:
        history = (await world.client.get(f"/v1/jobs/{job}/history")).json()
        events: dict[str, list[dict[str, Any]]] = {}
        for event in history["events"] if isinstance(history, dict) else history:
            events.setdefault(event["type"], []).append(event["data"])
        found.append(events)
    return found


async def test_what_lies_ready_for_a_worker_that_goes_is_for_the_next_in_the_same_attempt(
    world: World,
) -> None:
    first, second, skill = world.worker("first"), world.worker("second"), world.named("echo")
    await first.register(skill)
    returned = 0
    while not returned:  # a machine that stands still makes the worker slow, and then nothing is claimed
        jobs = await submit(world, skill)
        await work(first, JOBS // 2)
        assert (await first.beat({"status": "offline"})).status_code == 200
        await second.register(skill)
        await work(second, JOBS - JOBS // 2)
        for job in jobs:
            await world.ended(job)
        for events in await histories(world, jobs):
            assert len(events["JobSucceeded"]) == len(events["TaskSucceeded"]) == 1
            assert events["TaskSucceeded"][0].get("attempt", 1) == 1
            assert "TaskTimedOut" not in events
            returned += len(events.get("TaskReturned", ()))
        assert (await second.beat({"status": "offline"})).status_code == 200
        await first.register(skill)


async def test_what_a_killed_api_had_claimed_ahead_is_run_once_and_costs_no_attempt(tmp_path: Path) -> None:
    system = System(tmp_path / "data", {"DAYBOOK_LEASE_SECONDS": "4"})
    await system.start()
    try:
        async with World(system, tmp_path, tmp_path / "none") as world:
            worker, other, skill = world.worker("first"), world.worker("second"), world.named("echo")
            await worker.register(skill)
            lapsed = 0
            while not lapsed:
                jobs = await submit(world, skill)
                await work(worker, JOBS // 2)
                await system.kill("api")
                await _serves_again(other, skill)
                await work(other, JOBS - JOBS // 2)
                for job in jobs:
                    assert (await world.ended(job))["status"] == "succeeded"
                for events in await histories(world, jobs):
                    assert len(events["TaskSucceeded"]) == len(events["JobSucceeded"]) == 1
                    assert events["TaskSucceeded"][0].get("attempt", 1) == 1
                    lapsed += len(events.get("TaskReturned", ()))
                await other.beat({"status": "offline"})
                await worker.register(skill)
        await system.stop()
    finally:
        system.destroy()


async def test_a_backlog_is_taken_past_its_queue_and_a_killed_dispatcher_loses_nothing_of_it(
    tmp_path: Path,
) -> None:
    system = System(tmp_path / "data", {"DAYBOOK_LEASE_SECONDS": "4"})
    await system.start()
    try:
        async with World(system, tmp_path, tmp_path / "none") as world:
            worker, skill = world.worker("first"), world.named("echo")
            await worker.register(skill)
            taken = 0
            while not taken:
                jobs = await submit(world, skill, 2 * JOBS)
                await work(worker, JOBS)
                await system.kill("dispatcher")
                await work(worker, JOBS)
                for job in jobs:
                    assert (await world.ended(job))["status"] == "succeeded"
                for events in await histories(world, jobs):
                    assert len(events["TaskSucceeded"]) == len(events["JobSucceeded"]) == 1
                    assert events["TaskSucceeded"][0].get("attempt", 1) == 1
                    taken += sum(bool(released.get("taken")) for released in events["TaskReleased"])
        await system.stop()
    finally:
        system.destroy()


async def test_a_backlog_is_shared_with_a_worker_that_pulls_from_the_queue(world: World) -> None:
    fast, skill = world.worker("fast"), world.named("echo")
    done: list[int] = []
    puller = Worker(world.system.nats, WORKER_TOKEN, world.named("puller"), concurrency=2)

    @puller.skill(skill)
    async def echo(given: dict[str, Any]) -> dict[str, int]:
        done.append(1)
        await asyncio.sleep(0.05)
        return {"ok": 1}

    await fast.register(skill)
    started = asyncio.Event()
    serving = asyncio.ensure_future(puller.serve(started))
    await started.wait()
    jobs = await submit(world, skill, 4 * JOBS)
    working = asyncio.ensure_future(work(fast, 4 * JOBS, at_once=1))
    for job in jobs[: 2 * JOBS]:
        await world.ended(job)
    half = len(done)
    for job in jobs:
        await world.ended(job)
    working.cancel()
    puller.stop()
    await serving
    assert 0 < half < len(done), "it goes on getting tasks while the other one takes"


async def _serves_again(worker: HttpWorker, skill: str) -> None:
    while True:
        try:
            if (await worker.register(skill)).status_code == 200:
                return
        except httpx.TransportError:
            pass
        await asyncio.sleep(0.1)
