"""Files in the whole system: clients, handlers and the unmodified worker SDK, on a real S3 server."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.application.files import LONGEST_LINK_SECONDS
from tests.contract.avtomatika.files.memory import GROWTH_BYTES, MIB, SIZE, Growth, body
from tests.contract.avtomatika.worker.sdk import sdk_worker
from tests.contract.avtomatika.worker.world import World
from tests.support.s3 import BUCKET, SECRET_KEY, S3Server, s3_server
from tests.support.system import CLIENT_TOKEN, WORKER_TOKEN, System

pytestmark = [pytest.mark.connected, pytest.mark.slow]

FLOW = """
from daybook import Blueprint

bp = Blueprint("files", api_version="v1", api_endpoint="jobs/with_files")

@bp.handler(is_start=True)
async def start(actions):
    actions.await_human_approval(integration="mail", message="?", transitions={"approved": "work"})

@bp.handler
async def work(task_files, initial_data, actions):
    if initial_data.get("skill"):
        actions.dispatch_task(
            task_type=initial_data["skill"],
            params={"link": task_files.generate_presigned_url(initial_data["file"])},
            transitions={"success": "look", "failure": "failed"},
        )
    else:
        text = await task_files.read_text("in/text.txt")
        uri = await task_files.write_json("out.json", {"length": len(text)})
        signed = "X-Amz-Signature" in task_files.generate_presigned_url("out.json")
        actions.update_context(uri=uri, again=await task_files.read_json(uri), signed=signed)
        actions.await_human_approval(integration="mail", message="?", transitions={"approved": "finished"})

@bp.handler
async def look(task_files, state_history, actions):
    text = await task_files.read_text(state_history["file"])
    actions.update_context(text=text)
    actions.go_to("finished")

@bp.handler(is_end=True)
async def finished(actions):
    pass

@bp.handler(is_end=True)
async def failed(actions):
    pass
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="module")
def system(server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("system")
    (folder / "blueprints").mkdir()
    (folder / "blueprints" / "flow.py").write_text(FLOW)
    made = System(folder / "data", server.environment(), "--blueprints", str(folder / "blueprints"))
    try:
        asyncio.run(made.start())
        yield made
        asyncio.run(made.stop())
        printed = made.out.read_text()
        assert SECRET_KEY not in printed
        assert "X-Amz-Signature" not in printed
    finally:
        made.destroy()


@pytest.fixture
async def client(system: System) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"X-Client-Token": CLIENT_TOKEN}
    async with httpx.AsyncClient(base_url=system.http, headers=headers, timeout=90) as client:
        yield client


async def submitted(client: httpx.AsyncClient, **given: Any) -> str:
    answer = await client.post("/api/v1/jobs/with_files", json={"initial_data": given})
    assert answer.status_code == 202, answer.text
    job = str(answer.json()["job_id"])
    await until_status(client, job, "waiting_for_human")
    return job


async def approve(client: httpx.AsyncClient, job: str) -> None:
    answer = await client.post(f"/_public/webhooks/approval/{job}", json={"decision": "approved"})
    assert answer.status_code == 200, answer.text


async def until_status(client: httpx.AsyncClient, job: str, status: str, key: str = "") -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            state: dict[str, Any] = (await client.get(f"/api/v1/jobs/{job}")).json()
            if state["status"] == status and (not key or key in state["initial_data"]):
                return state
            assert state["status"] not in {"quarantined", "failed"}, state
            await asyncio.sleep(0.05)


async def until_removed(server: S3Server, job: str) -> None:
    async with asyncio.timeout(60):
        while server.holds(f"jobs/{job}"):
            await asyncio.sleep(0.05)


async def test_clients_put_and_get_files_by_links_and_through_us(
    client: httpx.AsyncClient, server: S3Server
) -> None:
    job = await submitted(client)
    files = f"/api/v1/jobs/{job}/files"
    put = await client.put(f"{files}/content/in/text.txt", content=b"hello")
    uri = f"s3://{BUCKET}/jobs/{job}/in/text.txt"
    assert (put.status_code, put.json()) == (200, {"status": "uploaded", "s3_uri": uri})
    told = (await client.get(f"{files}/upload?filename=b c.bin&expires_in=60")).json()
    async with httpx.AsyncClient(timeout=60) as anybody:
        assert (await anybody.put(told["url"], content=b"\0" * 1000)).status_code == 200
        for name, content in (("in/text.txt", b"hello"), ("b%20c.bin", b"\0" * 1000)):
            found = await client.get(f"{files}/download/{name}")
            assert found.status_code == 302
            assert "X-Amz-Expires=60&" in found.headers["location"]
            assert (await anybody.get(found.headers["location"])).content == content
    assert sorted(server.holds(f"jobs/{job}")) == [f"jobs/{job}/b c.bin", f"jobs/{job}/in/text.txt"]
    too_long = await client.get(f"{files}/upload?filename=a&expires_in={LONGEST_LINK_SECONDS + 1}")
    assert too_long.status_code == 400


async def test_handlers_read_and_write_files_and_they_go_with_the_job(
    client: httpx.AsyncClient, server: S3Server, system: System
) -> None:
    job = await submitted(client)
    await client.put(f"/api/v1/jobs/{job}/files/content/in/text.txt", content="grüße".encode())
    await approve(client, job)
    state = await until_status(client, job, "waiting_for_human", "uri")
    kept = state["initial_data"]
    assert (kept["uri"], kept["again"]) == (f"s3://{BUCKET}/jobs/{job}/out.json", {"length": 5})
    assert kept["signed"] is True
    assert len(server.holds(f"jobs/{job}")) == 2
    copies = system.data / "task-files" / job
    assert sorted(path.name for path in copies.rglob("*")) == ["in", "out.json", "text.txt"]

    history = (await client.get(f"/api/v1/jobs/{job}/history")).json()
    moved = [event["context_snapshot"] for event in history if event["event_type"] == "s3_operation"]
    assert [(fact["operation"], fact["s3_uri"], fact["size"]) for fact in moved] == [
        ("download", f"s3://{BUCKET}/jobs/{job}/in/text.txt", 7),
        ("upload", f"s3://{BUCKET}/jobs/{job}/out.json", 12),
    ]
    await approve(client, job)
    await until_status(client, job, "finished")
    await until_removed(server, job)
    await system.until(lambda: not copies.exists(), 20)


async def test_files_go_although_the_projector_was_killed_while_it_removed_them(
    client: httpx.AsyncClient, server: S3Server, system: System
) -> None:
    job = await submitted(client)
    await client.put(f"/api/v1/jobs/{job}/files/content/a", content=b"x")
    assert server.holds(f"jobs/{job}")
    os.kill(server.pid, signal.SIGSTOP)
    try:
        assert (await client.post(f"/api/v1/jobs/{job}/cancel")).status_code == 200
        await until_status(client, job, "cancelled")
        await system.kill("projector")
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert server.holds(f"jobs/{job}")
    await until_removed(server, job)


async def test_a_worker_of_the_sdk_gets_a_link_and_gives_a_file(
    client: httpx.AsyncClient, server: S3Server, system: System, tmp_path: Path
) -> None:
    """Not `s3://…`: what the SDK does with that fails before it asks the store, whoever sent it."""
    job = await submitted(client, skill="shout", file="in.txt")
    await client.put(f"/api/v1/jobs/{job}/files/content/in.txt", content=b"quiet")
    log, settings = tmp_path / "probe.log", server.environment(TASK_FILES_DIR=str(tmp_path / "work"))
    cache = {"WORKER_BLOB_CACHE_DIR": str(tmp_path / "cache")}
    with sdk_worker(system.http, WORKER_TOKEN, log, "filer", **settings, **cache):
        await approve(client, job)
        state = await until_status(client, job, "finished")
    assert state["initial_data"]["text"] == "QUIET"
    assert state["state_history"]["file"] == f"s3://{BUCKET}/{job}/loud.txt"


async def test_a_worker_with_other_settings_is_warned(
    server: S3Server, system: System, tmp_path: Path
) -> None:
    async with World(system, tmp_path, tmp_path / "none") as world:
        for theirs, warned in (("0" * 16, True), (None, False)):
            worker = world.worker(f"w-{warned}")
            told = (await worker.register("echo", capabilities={"s3_config_hash": theirs})).json()
            assert told["status"] == "registered"
            assert ("warning" in told) is warned
    settings = server.environment(TASK_FILES_DIR=str(tmp_path))
    with sdk_worker(system.http, WORKER_TOKEN, tmp_path / "same.log", "same", **settings):
        registration = await registered(system, "same")
    assert registration["capabilities"]["s3_config_hash"]
    log = (tmp_path / "same.out").read_text()
    assert "Registration warning" not in log


async def registered(system: System, name: str) -> dict[str, Any]:
    async with asyncio.timeout(30), httpx.AsyncClient(base_url=system.http) as client:
        while True:
            answer = await client.get("/api/v1/workers", headers={"X-Client-Token": CLIENT_TOKEN})
            for worker in answer.json():
                if worker["worker_id"] == name:
                    return dict(worker)
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("announced", [True, False])
async def test_a_client_that_hangs_up_leaves_nothing(
    client: httpx.AsyncClient, server: S3Server, system: System, announced: bool
) -> None:
    job = await submitted(client)
    length = f"Content-Length: {50 * MIB}" if announced else "Transfer-Encoding: chunked"
    head = f"PUT /api/v1/jobs/{job}/files/content/a HTTP/1.1\r\nHost: x\r\nX-Client-Token: {CLIENT_TOKEN}\r\n"
    block = b"x" * MIB if announced else b"%x\r\n" % MIB + b"x" * MIB + b"\r\n"
    with socket.create_connection(("127.0.0.1", system.http_port)) as raw:
        await asyncio.to_thread(raw.sendall, f"{head}{length}\r\n\r\n".encode())
        for _ in range(20):
            await asyncio.to_thread(raw.sendall, block)
        async with asyncio.timeout(30):
            while not server.unfinished():
                await asyncio.sleep(0.02)
    async with asyncio.timeout(30):
        while server.unfinished():
            await asyncio.sleep(0.02)
    assert server.holds(f"jobs/{job}") == []


async def test_memory_does_not_grow_with_a_file_that_passes_through(
    client: httpx.AsyncClient, system: System
) -> None:
    job = await submitted(client)
    files = f"/api/v1/jobs/{job}/files"
    await client.put(f"{files}/content/warm", content=body(12 * MIB))
    begun = time.monotonic()
    async with Growth(await system.living("api")) as up:
        answer = await client.put(f"{files}/content/big", content=body(SIZE))
        assert answer.status_code == 200
    print(f"{SIZE // MIB} MiB: up {up.bytes / MIB:.1f} MiB in {time.monotonic() - begun:.1f} s")
    assert up.bytes < GROWTH_BYTES
    link = (await client.get(f"{files}/download/big")).headers["location"]
    async with httpx.AsyncClient(timeout=90) as anybody, anybody.stream("GET", link) as found:
        assert int(found.headers["content-length"]) == SIZE
