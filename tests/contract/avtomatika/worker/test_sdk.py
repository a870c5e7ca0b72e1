"""The unmodified SDK against the whole system."""

import os
import signal
from pathlib import Path

import pytest

from tests.contract.avtomatika.worker.conftest import LEASE_SECONDS
from tests.contract.avtomatika.worker.sdk import sdk_worker
from tests.contract.avtomatika.worker.world import World
from tests.support.system import WORKER_TOKEN, System

pytestmark = [pytest.mark.connected, pytest.mark.slow]

ONCE = {"max_attempts": 1}


@pytest.mark.parametrize("sockets", ["false", "true"])
async def test_results_failures_and_events_of_the_sdk_reach_their_jobs(world: World, sockets: str) -> None:
    with sdk_worker(world.system.http, WORKER_TOKEN, world.log, WORKER_ENABLE_WEBSOCKETS=sockets):
        done = await world.run("echo", {"a": 1})
        assert (done["status"], done["output"]) == ("succeeded", {"echo": {"a": 1}})

        failures = {
            "TRANSIENT_ERROR": "transient",
            "PERMANENT_ERROR": "permanent",
            "SECURITY_ERROR": "permanent",
            "DEPENDENCY_ERROR": "permanent",
            "CONTRACT_VIOLATION_ERROR": "contract_violation",
            "INVALID_INPUT_ERROR": "invalid_input",
            "INTEGRITY_MISMATCH_ERROR": "invalid_input",
            "RESOURCE_EXHAUSTED_ERROR": "transient",
        }
        for code, kind in failures.items():
            answer = {"status": "failure", "error": {"code": code, "message": "no"}}
            failed = await world.run("end", {"answer": answer}, retry=ONCE)
            assert (failed["status"], failed["error"]["kind"]) == ("failed", kind), code
        bare = await world.run("end", {"answer": {"status": "failure"}}, retry=ONCE)
        assert bare["error"]["kind"] == "transient"
        raised = await world.run("end", {"raise": "error"}, retry=ONCE)
        assert (raised["error"]["kind"], raised["error"]["message"]) == ("transient", "boom")
        value = await world.run("end", {"raise": "value"}, retry=ONCE)
        assert value["error"]["kind"] == "invalid_input"
        sentence = await world.run("end", {"answer": {"status": "failure", "error": "plain"}}, retry=ONCE)
        assert sentence["error"]["message"] == "plain"
        scalar = await world.run("end", {"scalar": "just a string"})
        assert scalar["output"] == "just a string"
        stopped = await world.run("end", {"answer": {"status": "cancelled"}})
        assert stopped["status"] == "cancelled"

        slow = await world.submit("slow", {"seconds": 0.8})
        assert (await world.ended(slow))["status"] == "succeeded"
        assert (await world.events(slow, "TaskProgressed"))[-1]["progress"] == 1.0
        told = await world.submit("tell", {"mark": 7})
        assert (await world.happened(told, "EventEmitted"))[0]["payload"] == {"mark": 7}
        assert (await world.ended(told))["status"] == "succeeded"


async def test_a_transient_failure_is_tried_again_by_the_sdk(world: World) -> None:
    with sdk_worker(world.system.http, WORKER_TOKEN, world.log):
        job = await world.run("end", {"raise": "error"}, retry={"max_attempts": 4, "base_seconds": 0})
        assert job["status"] == "failed"
        assert len([note for note in world.noted() if note.get("skill") == "end"]) == 4


@pytest.mark.parametrize("sockets", ["false", "true"])
async def test_a_cancelled_job_stops_the_task_in_the_sdk(world: World, sockets: str) -> None:
    with sdk_worker(world.system.http, WORKER_TOKEN, world.log, WORKER_ENABLE_WEBSOCKETS=sockets):
        job = await world.submit("slow", {"seconds": 60})
        begun = await world.until_noted("begun")
        await world.cancel(job)
        stopped = await world.until_noted("cancelled")
        assert stopped["cancelled"] == begun["begun"]
        assert (await world.ended(job))["status"] == "cancelled"


async def test_a_task_longer_than_its_lease_is_kept_by_heartbeats(world: World) -> None:
    with sdk_worker(world.system.http, WORKER_TOKEN, world.log):
        job = await world.run("slow", {"seconds": 2 * LEASE_SECONDS + 1})
        assert job["status"] == "succeeded"
        assert len([note for note in world.noted() if "begun" in note]) == 1


async def test_a_worker_that_dies_in_the_middle_leaves_its_task_to_another(world: World) -> None:
    with sdk_worker(world.system.http, WORKER_TOKEN, world.log, "first") as pid:
        job = await world.submit("slow", {"seconds": 2}, retry={"max_attempts": 3, "base_seconds": 0})
        await world.until_noted("begun")
        os.kill(pid, signal.SIGKILL)
        with sdk_worker(world.system.http, WORKER_TOKEN, world.log, "second"):
            done = await world.ended(job)
    assert done["status"] == "succeeded"
    assert [event["what"] for event in await world.events(job, "TaskTimedOut")] == ["lease"]
    assert (await world.events(job, "TaskSucceeded"))[0]["worker"] == "second"


async def test_a_worker_that_comes_after_the_job_does_it(world: World) -> None:
    job = await world.submit("echo", {"early": True})
    with sdk_worker(world.system.http, WORKER_TOKEN, world.log):
        assert (await world.ended(job))["output"] == {"echo": {"early": True}}


async def test_a_task_outlives_the_api_that_handed_it_out(tmp_path: Path) -> None:
    """Its queue delivers it again meanwhile: the worker that holds it does not get it twice."""
    environment = {"DAYBOOK_LEASE_SECONDS": "60", "DAYBOOK_ACK_WAIT_SECONDS": "3"}
    system = System(tmp_path / "data", environment)
    try:
        await system.start()
        async with World(system, tmp_path, tmp_path / "none") as world:
            with sdk_worker(system.http, WORKER_TOKEN, world.log):
                job = await world.submit("slow", {"seconds": 12})
                await world.until_noted("begun")
                await system.kill("api")
                await system.until_serving()
                done = await world.ended(job)
                assert (done["status"], done["output"]) == ("succeeded", {"slept": 12})
                assert len([note for note in world.noted() if "begun" in note]) == 1
                again = await world.run("echo", {"after": 1})  # the worker is known again
                assert again["status"] == "succeeded"
        await system.stop()
    finally:
        system.destroy()
