"""A rate key over a kill -9 of the dispatcher in the middle of its window."""

import asyncio
from datetime import datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.integration.dispatcher.test_jobs import submit, until_status
from tests.support.system import System

pytestmark = [pytest.mark.connected, pytest.mark.slow]

WINDOW = 24.0
LIMIT = 3
LATE = 15.0
"""Seconds that a machine with other work may take to release what may go."""


async def released(client: httpx.AsyncClient, job: dict[str, Any]) -> datetime:
    """When the job's task was released."""
    await until_status(client, job, "succeeded")
    events = (await client.get(f"/v1/jobs/{job['job_id']}/history")).json()
    (at,) = [event["at"] for event in events if event["type"] == "TaskReleased"]
    return datetime.fromisoformat(at)


async def test_a_restart_in_mid_window_neither_exceeds_the_rate_nor_idles(
    client: httpx.AsyncClient, shared_system: System
) -> None:
    rate = {"key": uuid4().hex, "limit": LIMIT, "per_seconds": WINDOW}
    ended = [await submit(client, skill="echo", rate=rate) for _ in range(LIMIT - 1)]
    first = [await released(client, job) for job in ended]
    await asyncio.sleep(WINDOW / 8)  # time itself is what is tested

    await shared_system.kill("dispatcher")
    later = [await submit(client, wait=0, skill="echo", rate=rate) for _ in range(LIMIT)]
    async with asyncio.timeout(150):
        times = first + sorted([await released(client, job) for job in later])

    gaps = [(after - before).total_seconds() for before, after in zip(times, times[LIMIT:], strict=False)]
    assert all(gap > WINDOW - 0.05 for gap in gaps), "never more than the limit in any window"
    assert all(gap < WINDOW + LATE for gap in gaps), "and nothing waits beyond its window"
    assert (times[LIMIT - 1] - times[0]).total_seconds() < WINDOW, "the place that was left is used at once"
