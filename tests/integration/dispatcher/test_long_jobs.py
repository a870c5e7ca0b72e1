"""A job of thousands of events, and a dispatcher that dies on the way."""

import asyncio
import re

import httpx
import pytest

from tests.integration.dispatcher.test_jobs import publish, submit, until_status
from tests.support.system import System

pytestmark = [pytest.mark.connected, pytest.mark.slow]

ITERATIONS = 2_000
USED = re.compile(r"job (\S+): (\d+) commits since its snapshot at version (\d+)")


async def iterations(client: httpx.AsyncClient, job: str) -> int:
    """How many iterations of the job have begun."""
    seen = (await client.get(f"/v1/jobs/{job}")).json()
    return int(seen["attempts"])


async def test_a_long_loop_survives_its_dispatcher_by_a_snapshot(
    client: httpx.AsyncClient, shared_system: System
) -> None:
    nodes = {
        "l": {"kind": "loop", "while": f"index < {ITERATIONS}", "max_iterations": ITERATIONS},
        "t": {"kind": "task", "skill": "add", "input": {"n": {"cel": "index"}}},
    }
    name = await publish(client, nodes, "l:body t", "t l")
    job = (await submit(client, wait=0, workflow=name))["job_id"]
    async with asyncio.timeout(120):
        while await iterations(client, job) < ITERATIONS // 2:
            await asyncio.sleep(0.1)

    await shared_system.kill("dispatcher")

    async with asyncio.timeout(150):
        while (await client.get(f"/v1/jobs/{job}")).json()["status"] not in ("succeeded", "failed"):
            await asyncio.sleep(0.2)
    ended = await until_status(client, {"job_id": job}, "succeeded", "failed")
    assert ended["status"] == "succeeded", ended["error"]
    assert ended["output"] == [{"n": number + 1} for number in range(ITERATIONS)]
    (used,) = [found for found in USED.findall(shared_system.printed()) if found[0] == job]
    assert int(used[2]) > ITERATIONS, "the snapshot holds most of what had happened"
    assert int(used[1]) < 400, "few commits are read behind it"
