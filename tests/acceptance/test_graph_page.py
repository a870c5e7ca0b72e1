"""The example of docs/graphs.md, published and run as it stands there."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from daybook import Worker
from tests.support.system import WORKER_TOKEN, System

PAGE = (Path(__file__).parents[2] / "docs" / "graphs.md").read_text()
EXAMPLES = {name: json.loads(text) for name, text in re.findall(r"```json (\w+)\n(.*?)```", PAGE, re.DOTALL)}

pytestmark = [pytest.mark.connected, pytest.mark.slow]


@asynccontextmanager
async def shop(system: System, unknown: str = "") -> AsyncIterator[None]:
    """A worker with the skills of the example; it does not know the price of `unknown`."""
    worker = Worker(nats_url=system.nats, token=WORKER_TOKEN, name="shop")

    @worker.skill("price")
    async def price(given: Any) -> Any:
        if given["item"] == unknown:
            raise ValueError("not for sale")
        return 10

    @worker.skill("invoice")
    async def invoice(given: Any) -> Any:
        prices = given["prices"]
        return {"total": sum(prices) if isinstance(prices, list) else 0}

    @worker.skill("reserve")
    async def reserve(given: Any) -> Any:
        return given["items"]

    serving = asyncio.ensure_future(worker.serve())
    try:
        yield
    finally:
        worker.stop()
        await serving


async def begin(client: httpx.AsyncClient, given: Any) -> str:
    for name in ("reserve", "order"):
        answer = await client.put(f"/v1/workflows/{name}", json={"graph": EXAMPLES[name]})
        assert answer.status_code in (200, 201), answer.text
    answer = await client.post("/v1/jobs", json={"workflow": "order", "input": given})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


async def until(client: httpx.AsyncClient, job: str, *statuses: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            found: dict[str, Any] = (await client.get(f"/v1/jobs/{job}")).json()
            if found.get("status") in statuses:
                return found
            await asyncio.sleep(0.05)


async def test_the_example_gives_what_the_page_says(daybook_system: System) -> None:
    async with shop(daybook_system), daybook_system.client() as client:
        job = await begin(client, EXAMPLES["input"])
        await until(client, job, "waiting_approval", "waiting_signal", "waiting")
        answer = await client.post(f"/v1/jobs/{job}/approve", json={"decision": "yes"})
        assert answer.status_code == 200, answer.text
        ended = await until(client, job, "succeeded", "failed")
        refused = await begin(client, EXAMPLES["input"])
        await until(client, refused, "waiting_approval", "waiting_signal", "waiting")
        await client.post(f"/v1/jobs/{refused}/approve", json={"decision": "no"})
        await until(client, refused, "failed")
    assert ended["status"] == "succeeded", ended
    assert ended["output"] == EXAMPLES["output"]


async def test_the_example_catches_an_item_that_has_no_price(daybook_system: System) -> None:
    async with shop(daybook_system, unknown="ink"), daybook_system.client() as client:
        ended = await until(client, await begin(client, {"items": ["pen", "ink"]}), "succeeded", "failed")
    assert ended["status"] == "succeeded", ended
    assert ended["output"] == {"count": 2, "total": 0, "reserved": ["pen", "ink"]}
