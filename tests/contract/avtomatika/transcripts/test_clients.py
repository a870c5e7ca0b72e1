"""What clients and the original said to each other, said to Daybook."""

import asyncio
from typing import Any

import pytest

from tests.contract.avtomatika.transcripts.comparing import recording
from tests.contract.avtomatika.transcripts.stage import Stage
from tests.contract.avtomatika.transcripts.test_workers import exchanges, replayed

pytestmark = [pytest.mark.connected, pytest.mark.slow]

JOBS, MISC = "06_client_submit_get", "07_client_misc"
Exchange = dict[str, Any]


@pytest.mark.parametrize("exchange", exchanges(JOBS))
async def test_jobs_and_approvals(stage: Stage, exchange: Exchange) -> None:
    await prepared(stage, exchange)
    await replayed(stage, JOBS, exchange)


async def prepared(stage: Stage, exchange: Exchange) -> None:
    """Whatever the recorded request met."""
    path, answer, body = exchange["request"]["path"], exchange["answer"], exchange["request"].get("body")
    if "<job>" not in path:
        return
    if "/approval/" in path:
        stage.ids["quota-token"] = "other-token"  # a client whose job it is not
        await stage.submit("ask")
        await stage.until("waiting_for_human")
        if answer["status"] == 409:
            decided = f"/_public/webhooks/approval/{stage.ids['job']}"
            assert (await stage.as_client("POST", decided, body)).status_code == 200
    elif path.endswith("/cancel"):
        await cancellable(stage, exchange)
    elif "fields" in path:
        await stage.hold()
        event = {"event_id": "e", "event_type": "progress", "payload": {"progress": 1, "message": "m"}}
        told = {**event, "target_job_id": stage.ids["job"], "target_task_id": stage.ids["task"]}
        assert (await stage.as_worker("POST", "/_worker/events", told)).status_code == 200
        await stage.result(data={})
        await stage.until("finished")
    else:
        await stage.hold()
        outcome = answer["body"]["result"]
        status = {"custom": {"status": "needs_review"}}.get(outcome, {})
        await stage.result(data={"outcome": outcome}, **status)
        await stage.until("finished")


async def cancellable(stage: Stage, exchange: Exchange) -> None:
    if exchange["answer"]["status"] == 404:
        await stage.submit("simple")
        await stage.until("finished")
        return
    await stage.submit()
    await stage.until("waiting_for_worker")
    if exchange["name"].startswith("06"):  # a second time
        assert (await stage.as_client("POST", f"/api/v1/jobs/{stage.ids['job']}/cancel")).status_code == 200


@pytest.mark.parametrize("exchange", exchanges(MISC))
async def test_everything_else_of_clients(stage: Stage, exchange: Exchange) -> None:
    path = exchange["request"]["path"]
    if "<job>" in path:
        await stage.submit("simple")
        await stage.until("finished")
    elif path.endswith("/workers"):
        await stage.hold()
        assert await stage.exchange(recording("01_register")[0]) == set()
        assert await stage.exchange(recording("02_heartbeat")[3]) == set()
        assert await stage.exchange(recording("02_heartbeat")[0]) == set()
    elif "limit=1" in path:
        await stage.submit("broken")
        await stage.until("quarantined")
        await listed(stage)
    await replayed(stage, MISC, exchange)


async def listed(stage: Stage) -> None:
    """The list is of rows, which follow the job."""
    async with asyncio.timeout(60):
        while (await stage.as_client("GET", "/api/v1/jobs?limit=1")).json()[0]["job_id"] != stage.ids["job"]:
            await asyncio.sleep(0.02)
