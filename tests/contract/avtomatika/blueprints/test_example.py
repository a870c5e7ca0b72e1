"""The example: a blueprint with one import changed, the unmodified SDK as its worker, and an HTTP client."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.avtomatika.worker.sdk import sdk_python
from tests.support.system import CLIENT_TOKEN, ROOT, WORKER_TOKEN, System

pytestmark = pytest.mark.connected

EXAMPLE = ROOT / "examples" / "avtomatika"
ENDED = ("finished", "failed", "quarantined", "cancelled")
PLACED = """
from daybook import Blueprint

bp = Blueprint("placed", api_version="v1", api_endpoint="jobs/placed")

@bp.handler(is_start=True)
async def start(actions):
    actions.dispatch_task("preview", {"path": "/p", "number": 0}, {"success": "end"}, max_cost=2.0,
                          dispatch_strategy="cheapest", resource_requirements={"ram_gb": 4})

@bp.handler(is_end=True)
async def end():
    pass
"""


@contextmanager
def sdk_worker(system: System, name: str, **environment: str) -> Iterator[None]:
    """The example's worker as a process of its own."""
    own = {
        "PATH": os.environ["PATH"],
        "ORCHESTRATOR_URL": system.http,
        "WORKER_ID": name,
        "WORKER_TOKEN": WORKER_TOKEN,
        **environment,
    }
    with (system.data / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            [str(sdk_python()), str(EXAMPLE / "worker.py")], env=own, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    folder = tmp_path / "blueprints"
    folder.mkdir()
    (folder / "video.py").write_text((EXAMPLE / "blueprints" / "video.py").read_text())
    (folder / "placed.py").write_text(PLACED)
    system = System(tmp_path / "data", {"BLUEPRINTS_DIR": str(folder)})
    try:
        await system.start()
        yield system
        await system.stop()
    finally:
        system.destroy()


class Api:
    """A client of the original's paths."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def submit(self, endpoint: str, initial_data: Mapping[str, Any], **more: Any) -> str:
        body = {"initial_data": initial_data, **more}
        answer = await self.http.post(f"/api/v1/{endpoint}", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    async def until(self, job: str, *statuses: str) -> dict[str, Any]:
        """The job when it has one of the statuses."""
        async with asyncio.timeout(90):
            while True:
                state: dict[str, Any] = (await self.http.get(f"/api/v1/jobs/{job}")).json()
                if state["status"] in statuses:
                    return state
                await asyncio.sleep(0.05)


@pytest.fixture
async def api(system: System) -> AsyncIterator[Api]:
    async with httpx.AsyncClient(
        base_url=system.http, headers={"X-Client-Token": CLIENT_TOKEN}, timeout=60
    ) as http:
        yield Api(http)


async def test_the_example_runs_with_the_sdk_and_the_paths_of_the_original(system: System, api: Api) -> None:
    with sdk_worker(system, "video-1"):
        plain = await api.until(await api.submit("jobs/video", {"path": "/a"}), *ENDED)
        assert (plain["status"], plain["result"]) == (
            "finished",
            {"path": "/a.mp4", "previews": ["/a.mp4.0.png"]},
        )

        odd = await api.submit("jobs/video", {"path": "/odd"})
        await api.until(odd, "waiting_for_human")
        await api.http.post(f"/_public/webhooks/approval/{odd}", json={"decision": "rejected"})
        assert (await api.until(odd, *ENDED))["status"] == "failed"

        none = await api.until(await api.submit("jobs/video", {"path": "/b", "previews": 0}), *ENDED)
        assert none["result"] == {"path": "/b.mp4", "previews": []}

        policy = {"allowed_skills": ["transcode"]}
        forbidden = await api.submit("jobs/video", {"path": "/a"}, policy=policy)
        stopped = await api.until(forbidden, *ENDED)
        assert stopped["status"] == "quarantined"
        assert "'preview'" in stopped["error_message"]


async def test_a_placed_task_waits_for_a_worker_that_fits(system: System, api: Api) -> None:
    costs = {"COST_PER_SKILL": '{"preview": 1.0}'}
    with sdk_worker(system, "dear", COST_PER_SKILL='{"preview": 9.0}', RAM_GB="16"):
        job = await api.submit("jobs/placed", {})
        assert (await api.until(job, "waiting_for_worker"))["status"] == "waiting_for_worker"
        with (
            sdk_worker(system, "small", RAM_GB="1", **costs),
            sdk_worker(system, "good", RAM_GB="8", **costs),
        ):
            ended = await api.until(job, *ENDED)
    assert (ended["status"], ended["task_worker_id"]) == ("finished", "good")


async def test_the_picture_of_a_blueprint_is_served_without_loading_it(api: Api) -> None:
    answer = await api.http.get("/api/v1/blueprints/video/graph")
    assert answer.headers["content-type"].startswith("text/vnd.graphviz")
    assert answer.text.startswith("// State Machine for video\ndigraph {\n\tnode [shape=box style=rounded]\n")
    assert "\tstart -> review\n" in answer.text
