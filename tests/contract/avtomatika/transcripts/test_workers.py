"""What the worker SDK and the original said to each other, said to Daybook."""

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.contract.avtomatika.transcripts.comparing import recording
from tests.contract.avtomatika.transcripts.deviations import expected
from tests.contract.avtomatika.transcripts.stage import Stage, signed
from tests.support.system import WORKER_TOKEN

pytestmark = [pytest.mark.connected, pytest.mark.slow]

Exchange = dict[str, Any]


def exchanges(file: str) -> list[Any]:
    return [pytest.param(each, id=each["name"].replace("/", " ")) for each in recording(file)]


async def replayed(stage: Stage, file: str, exchange: Exchange) -> None:
    assert await stage.exchange(exchange) == expected(file, exchange["name"])


@pytest.mark.parametrize("exchange", exchanges("01_register"))
async def test_registering(stage: Stage, exchange: Exchange) -> None:
    await replayed(stage, "01_register", exchange)


@pytest.mark.parametrize("exchange", exchanges("02_heartbeat"))
async def test_heartbeats(stage: Stage, exchange: Exchange) -> None:
    if exchange["request"]["body"]["current_tasks"]:
        await stage.hold()
    assert await stage.exchange(recording("01_register")[0]) == set()
    await replayed(stage, "02_heartbeat", exchange)


@pytest.mark.parametrize("exchange", exchanges("03_poll"))
async def test_polling_for_a_task(stage: Stage, exchange: Exchange) -> None:
    await stage.register()
    await stage.submit("bare", params=exchange["answer"]["body"]["params"])
    own = f"available_skills={stage.skill},"
    exchange["request"]["path"] = exchange["request"]["path"].replace("available_skills=", own)
    await replayed(stage, "03_poll", exchange)


@pytest.mark.parametrize("exchange", exchanges("03b_poll_204"))
async def test_polling_for_nothing(stage: Stage, exchange: Exchange) -> None:
    await stage.register()
    path: str = exchange["request"]["path"]
    assert "timeout=30.0" in path  # which the recorded server did not heed: it held polls for its own five
    exchange["request"]["path"] = path.replace("timeout=30.0", "timeout=0.2")
    await replayed(stage, "03b_poll_204", exchange)


@pytest.mark.parametrize("exchange", exchanges("04_results"))
async def test_results(stage: Stage, exchange: Exchange) -> None:
    answer = exchange["answer"]["body"]
    await stage.hold("fan" if answer.get("transition") == "parallel_branch_accepted" else "one")
    if answer["status"] == "ignored":
        await stage.result(data={"first": True})
        await stage.until("finished")
    await replayed(stage, "04_results", exchange)


def socket_of(stage: Stage, exchange: Exchange) -> connect:
    url = f"ws://127.0.0.1:{stage.system.http_port}{stage.fill(exchange['request']['path'])}"
    headers = {"X-Worker-Token": WORKER_TOKEN, "X-Worker-ID": stage.ids["worker"]}
    return connect(url, additional_headers=headers)


async def test_the_socket_takes_every_recorded_frame_and_answers_none(stage: Stage) -> None:
    upgrade, *frames = recording("05_ws_events")
    await stage.hold()
    async with socket_of(stage, upgrade) as socket:
        assert socket.response is not None
        assert socket.response.status_code == upgrade["answer"]["status"]
        last = 0.0
        for exchange in frames:
            progress = exchange["frame"]["payload"]["progress"]
            if progress < last:  # the recording has gone on to its next task
                await stage.hold()
            last = progress
            frame = stage.fill(exchange["frame"])
            await socket.send(json.dumps(signed(frame)))
            said = frame["payload"]["progress"], frame["payload"]["message"]
            async with asyncio.timeout(30):
                while await shown_progress(stage) != said:
                    await asyncio.sleep(0.02)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.3)


async def shown_progress(stage: Stage) -> tuple[Any, Any]:
    state = (await stage.as_client("GET", f"/api/v1/jobs/{stage.ids['job']}")).json()
    return state.get("progress"), state.get("progress_message")


EVENTS_AND_TOKENS = "10_events_http_and_sts"


@pytest.mark.parametrize("exchange", exchanges(EVENTS_AND_TOKENS))
async def test_events_and_short_lived_tokens(stage: Stage, exchange: Exchange) -> None:
    path, name = exchange["request"]["path"], exchange["name"]
    if path.startswith("/_worker/auth"):
        issued = (await stage.as_worker("POST", "/_worker/auth/token")).json()
        stage.ids["token"] = issued["refresh_token"]
        if name.startswith("06"):  # the same token a second time
            await stage.exchange(exchange)
    else:
        await stage.hold()
        if path.endswith("/result"):  # of an attempt that another has followed
            await stage.result(status="failure", error={"code": "TRANSIENT_ERROR", "message": "later"})
    await replayed(stage, EVENTS_AND_TOKENS, exchange)
