"""The WebSocket of a worker."""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.contract.avtomatika.worker.world import World
from tests.support.system import CLIENT_TOKEN, WORKER_TOKEN

pytestmark = pytest.mark.connected


def opened(world: World, name: str, token: str = WORKER_TOKEN) -> connect:
    url = f"ws://127.0.0.1:{world.system.http_port}/_worker/ws/{name}"
    return connect(url, additional_headers={"X-Worker-Token": token, "X-Worker-ID": name})


async def test_a_cancelled_task_is_told_at_once(world: World) -> None:
    worker = world.worker()
    await worker.register(world.named("echo"))
    async with opened(world, world.named("w1")) as socket:
        job = await world.submit(world.named("echo"))
        task = await worker.task()
        await world.cancel(job)
        async with asyncio.timeout(30):
            command = json.loads(await socket.recv())
        assert command == {"command": "cancel_task", "task_id": task["task_id"], "job_id": job}


async def test_events_come_in_text_frames_and_nonsense_does_no_harm(world: World) -> None:
    worker = world.worker()
    await worker.register(world.named("echo"))
    job = await world.submit(world.named("echo"))
    task = await worker.task()
    async with opened(world, world.named("w1")) as socket:
        await socket.send("no json")
        await socket.send(json.dumps({"event_type": "progress", "target_task_id": "t", "payload": {}}))
        event = {
            "event_id": "e1",
            "worker_id": worker.name,
            "event_type": "progress",
            "payload": {"progress": 0.25},
            "target_job_id": job,
            "target_task_id": task["task_id"],
        }
        await socket.send(json.dumps(event))
        (progress,) = await world.happened(job, "TaskProgressed")
        assert progress["progress"] == 0.25


async def test_a_text_that_is_not_utf_8_closes_the_connection_and_leaves_no_traceback(world: World) -> None:
    for frames in (b"\xff\xfe", [b"{\xc3", b"("]):
        async with opened(world, world.named("w1")) as socket:
            await socket.send(frames, text=True)
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1007
    async with opened(world, world.named("w1")) as socket:
        await socket.send([b"{\xc3", b"\xbc}"], text=True)  # a letter may be cut between frames
        await _answers(socket)
    assert "Traceback" not in world.system.printed()


async def test_a_second_connection_closes_the_first(world: World) -> None:
    async with opened(world, world.named("w1")) as first, opened(world, world.named("w1")) as second:
        with pytest.raises(ConnectionClosed) as closed:
            await first.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
        await _answers(second)


async def test_a_wrong_token_gets_no_connection(world: World) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with opened(world, world.named("w1"), "wrong"):
            pass
    assert refused.value.response.status_code == 401
    assert refused.value.response.body == b"Unauthorized: No valid token found"
    with pytest.raises(InvalidStatus):  # whose log would be behind the first one's
        async with opened(world, world.named("w1"), "wrong"):
            pass
    assert "without completing handshake" not in world.system.printed()


async def _answers(socket: ClientConnection) -> None:
    async with asyncio.timeout(30):
        await (await socket.ping())


@pytest.mark.parametrize("connected", [True, False])
async def test_a_client_hears_how_the_worker_is_told_to_stop(world: World, connected: bool) -> None:
    worker = world.worker()
    await worker.register(world.named("slow"))
    job = await world.submit(world.named("slow"))
    await worker.task()
    headers = {"X-Client-Token": CLIENT_TOKEN}
    async with AsyncExitStack() as stack:
        if connected:
            await stack.enter_async_context(opened(world, worker.name))
        answer = await world.http.post(f"/api/v1/jobs/{job}/cancel", headers=headers)
    word = "sent" if connected else "accepted"
    assert (answer.status_code, answer.json()["status"]) == (200, f"cancellation_request_{word}")
