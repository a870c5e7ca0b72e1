"""Workers are held to the schemas that they register with."""

from typing import Any

import pytest

from tests.contract.avtomatika.worker.sdk import sdk_worker
from tests.contract.avtomatika.worker.world import World
from tests.support.system import WORKER_TOKEN

pytestmark = pytest.mark.connected

TWICE = {"type": "object", "properties": {"twice": {"type": "integer"}}, "required": ["twice"]}
GIVEN = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def skill(world: World, **promised: Any) -> dict[str, Any]:
    return {"name": world.named("strict"), "type": "strict", **promised}


async def test_a_result_that_breaks_the_output_schema_is_a_contract_violation(world: World) -> None:
    worker = world.worker()
    await worker.register(skill(world, output_schema=TWICE))
    job = await world.submit(world.named("strict"), {"n": 1})
    answer = await worker.result(await worker.task(), data={"twice": "2"})
    assert answer == {"status": "accepted", "transition": "failure_handled"}
    ended = await world.ended(job)
    assert (ended["status"], ended["error"]["kind"]) == ("failed", "contract_violation")
    assert ended["error"]["code"] == "CONTRACT_VIOLATION_ERROR"
    assert 'twice: "2" is not of type "integer"' in ended["error"]["message"]
    job = await world.submit(world.named("strict"), {"n": 1})
    answer = await worker.result(await worker.task(), data={"twice": 2})
    assert answer == {"status": "accepted", "transition": "success_transition"}
    assert (await world.ended(job))["output"] == {"twice": 2}


async def test_a_task_whose_input_the_skill_does_not_take_fails_before_it_is_run(world: World) -> None:
    worker = world.worker()
    await worker.register(skill(world, input_schema=GIVEN))
    job = await world.submit(world.named("strict"), {"n": "one"})
    assert (await worker.poll(5)).status_code == 204
    ended = await world.ended(job)
    assert (ended["error"]["kind"], ended["error"]["code"]) == ("invalid_input", "INVALID_INPUT_ERROR")
    await world.submit(world.named("strict"), {"n": 1})
    assert (await worker.task())["params"] == {"n": 1}


async def test_an_event_that_breaks_its_schema_is_told_so_and_not_recorded(world: World) -> None:
    worker = world.worker()
    await worker.register(skill(world, events_schema={"checkpoint": {"required": ["at"]}}))
    job = await world.submit(world.named("strict"))
    task = await worker.task()
    refused = await worker.event("checkpoint", task, {"no": 1})
    assert refused.status_code == 200
    assert (refused.json()["status"], refused.json()["code"]) == ("error", "CONTRACT_VIOLATION_ERROR")
    assert '"at" is a required property' in refused.json()["message"]
    accepted = await worker.event("checkpoint", task, {"at": 7})
    assert accepted.json() == {"status": "event_accepted"}
    assert [event["payload"] for event in await world.happened(job, "EventEmitted")] == [{"at": 7}]


async def test_a_schema_that_leads_elsewhere_is_not_used_and_the_worker_hears_of_it(world: World) -> None:
    worker = world.worker()
    answer = await worker.register(skill(world, output_schema={"$ref": "http://127.0.0.1:9/x"}))
    assert answer.status_code == 200
    assert answer.json()["status"] == "registered"
    assert "its output_schema is not used" in answer.json()["warning"]
    job = await world.submit(world.named("strict"))
    await worker.result(await worker.task(), data={"anything": "goes"})
    assert (await world.ended(job))["status"] == "succeeded"


async def test_the_schemas_of_the_sdk_are_understood(world: World) -> None:
    name = world.named("sdk")
    with sdk_worker(world.system.http, WORKER_TOKEN, world.log, name):
        ended = await world.run("strict", {"n": "one"})
        assert (ended["status"], ended["error"]["kind"]) == ("failed", "invalid_input")
        assert (await world.run("strict", {"n": 4}))["output"] == {"twice": 8}
