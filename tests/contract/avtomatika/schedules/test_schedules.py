"""A file of schedules on the whole system: jobs of its blueprints, each once, also under kill -9."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.system import CLIENT_TOKEN, System, SystemFailedError

pytestmark = [pytest.mark.connected, pytest.mark.slow]

BLUEPRINT = """
from daybook import Blueprint

bp = Blueprint("tick", api_version="v1", api_endpoint="jobs/tick")

@bp.handler(is_start=True)
async def start(client, initial_data, state_history, actions):
    state_history["source"] = client.params["source"]
    actions.go_to("finished")

@bp.handler(is_end=True)
async def finished():
    pass
"""
OFTEN = """
[often]
blueprint = "tick"
interval_seconds = 1
input_data = { n = 7 }
metadata = { team = "blue" }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "blueprints").mkdir()
    (tmp_path / "blueprints" / "tick.py").write_text(BLUEPRINT)
    (tmp_path / "schedules.toml").write_text(OFTEN)
    return tmp_path


@pytest.fixture
def made(folder: Path) -> Iterator[System]:
    environment = {"SCHEDULES_CONFIG_PATH": str(folder / "schedules.toml"), "TZ": "Europe/Berlin"}
    system = System(folder / "data", environment, "--blueprints", str(folder / "blueprints"))
    try:
        yield system
    finally:
        system.destroy()


@pytest.fixture
async def system(made: System) -> AsyncIterator[System]:
    await made.start()
    yield made
    await made.stop()


class Jobs:
    """The jobs that schedules made, as the default client sees them."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def all(self) -> list[dict[str, Any]]:
        """Their views in the native API, oldest first."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            query = {"tag": "daybook.trigger=schedule", "limit": "500"} | (
                {"cursor": cursor} if cursor else {}
            )
            page = (await self.http.get("/v1/jobs", params=query)).json()
            found += page["items"]
            cursor = page["next"]
            if cursor is None:
                return found[::-1]

    async def planned(self) -> list[str]:
        """Their planned times."""
        histories = [
            (await self.http.get(f"/v1/jobs/{job['job_id']}/history")).json() for job in await self.all()
        ]
        return [events[0]["data"]["metadata"]["daybook.schedule"]["planned"] for events in histories]

    async def at_least(self, count: int) -> list[dict[str, Any]]:
        async with asyncio.timeout(80):
            while len(jobs := await self.all()) < count:
                await asyncio.sleep(0.05)
        return jobs


@pytest.fixture
async def jobs(system: System) -> AsyncIterator[Jobs]:
    headers = {"X-Client-Token": CLIENT_TOKEN, "Authorization": f"Bearer {CLIENT_TOKEN}"}
    async with httpx.AsyncClient(base_url=system.http, headers=headers, timeout=20) as http:
        yield Jobs(http)


async def test_a_schedule_makes_background_jobs_of_the_default_client(jobs: Jobs) -> None:
    first = (await jobs.at_least(2))[0]["job_id"]
    async with asyncio.timeout(80):
        while (state := (await jobs.http.get(f"/api/v1/jobs/{first}")).json())["status"] != "finished":
            await asyncio.sleep(0.05)
    assert state["blueprint_name"] == "tick"
    assert state["initial_data"] == {"n": 7}
    assert state["metadata"] == {"team": "blue"}
    assert state["result"] == "scheduler:often"
    assert 0 < state["created_at"] <= state["updated_at"]
    history = (await jobs.http.get(f"/api/v1/jobs/{first}/history")).json()
    assert [history[0]["event_type"], history[-1]["event_type"]] == ["job_created", "job_completed"]
    native = (await jobs.http.get(f"/v1/jobs/{first}/history")).json()
    assert native[0]["data"]["trigger"] == "schedule"
    assert native[0]["by"] == "system:scheduler"
    own = (await jobs.http.post("/api/v1/jobs/tick", json={})).json()["job_id"]
    assert "created_at" not in (await jobs.http.get(f"/api/v1/jobs/{own}")).json()
    metrics = (await jobs.http.get("/_public/metrics")).text
    (line,) = [
        x
        for x in metrics.splitlines()
        if x.startswith('orchestrator_scheduler_jobs_triggered_total{blueprint="tick"} ')
    ]
    assert float(line.split()[1]) >= 2


async def test_a_scheduler_killed_around_its_fires_makes_each_job_once(system: System, jobs: Jobs) -> None:
    for count in (1, 3, 5):
        await jobs.at_least(count)
        await system.kill("scheduler")  # just after a fire, or in the next
    await jobs.at_least(8)
    planned = await jobs.planned()
    assert len(planned) == len(set(planned)) >= 8
    assert len({time[19:] for time in planned}) == 1  # all on the grid that the first one began


async def test_a_second_scheduler_makes_no_second_job(system: System, jobs: Jobs, folder: Path) -> None:
    environment = {
        **os.environ,
        "DAYBOOK_DATA": str(folder / "other"),
        "DAYBOOK_READMODEL_URL": "",
        "DAYBOOK_NATS_URL": system.nats,
        "DAYBOOK_NATS_PASSWORD": system.nats_password,
        "SCHEDULES_CONFIG_PATH": str(folder / "schedules.toml"),
    }
    second = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.scheduler", env=environment)
    try:
        async with asyncio.timeout(80):
            while not (folder / "other" / "run" / "scheduler.ready").exists():
                await asyncio.sleep(0.02)
        begun = len(await jobs.all())
        await jobs.at_least(begun + 4)
        await system.kill("scheduler")
        await jobs.at_least(begun + 8)
        planned = await jobs.planned()
        assert len(planned) == len(set(planned))
    finally:
        second.terminate()
        await asyncio.wait_for(second.wait(), 15)


async def test_the_file_is_read_again_and_a_mistake_in_it_changes_nothing(
    system: System, jobs: Jobs, folder: Path
) -> None:
    file = folder / "schedules.toml"
    await jobs.at_least(1)
    file.write_text(OFTEN.replace("blueprint =", "blueprnt ="))
    await system.until(lambda: "the schedules stay as they were" in system.printed(), 60)
    assert "schedule 'often': nobody knows 'blueprnt'" in system.printed()
    before = len(await jobs.all())
    await jobs.at_least(before + 2)
    file.write_text(OFTEN.replace("often", "other").replace("n = 7", "n = 8"))
    await system.until(lambda: system.printed().count("1 schedules are in force") >= 2, 60)
    async with asyncio.timeout(80):
        while (newest := (await jobs.all())[-1])["tags"]["schedule"] != "other":
            await asyncio.sleep(0.05)
    assert newest["workflow"] == "tick"


async def test_a_mistake_at_the_start_stops_the_start(made: System, folder: Path) -> None:
    (folder / "schedules.toml").write_text("[nightly]\nblueprint = 'tick'\ndaily_at = '2 am'\n")
    with pytest.raises(SystemFailedError, match="schedule 'nightly': a time is \"HH:MM\""):
        await made.start(60)
