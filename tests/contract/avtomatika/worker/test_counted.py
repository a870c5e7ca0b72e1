"""What the workers' endpoints count."""

import re

import pytest

from tests.contract.avtomatika.worker.world import World

pytestmark = [pytest.mark.connected, pytest.mark.slow]

JOB = "01a1fcab-ee0c-7872-a3be-20c0892df4f2"


async def counted(world: World, name: str) -> float:
    page = (await world.http.get("/_public/metrics")).text
    found = re.search(rf"^orchestrator_{name} (\S+)$", page, re.MULTILINE)
    assert found is not None
    return float(found[1])


async def test_an_ignored_result_is_counted(world: World) -> None:
    before = await counted(world, "tasks_ignored_total")
    result = {"job_id": JOB, "task_id": "task-of-somebody-else", "worker_id": "w"}
    headers = {"X-Worker-Token": "dev-worker-token"}
    answer = await world.http.post("/_worker/tasks/result", json=result, headers=headers)
    assert answer.json()["status"] == "ignored"
    assert await counted(world, "tasks_ignored_total") == before + 1
