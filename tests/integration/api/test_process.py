"""`python -m services.api` as a process of its own."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from shared.broker.streams import api
from shared.process import ready_file
from shared.profiles import DEV_CREDENTIALS
from shared.settings import without_settings
from tests.integration.api.test_serving import free_port
from tests.support.nats import NatsServer

pytestmark = pytest.mark.connected

HEADERS = {"Authorization": f"Bearer {DEV_CREDENTIALS['client_token']}"}


@asynccontextmanager
async def api_process(
    nats_server: NatsServer, data: Path, port: int
) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {
        **without_settings(os.environ),
        "DAYBOOK_DATA": str(data),
        "DAYBOOK_HTTP": f"127.0.0.1:{port}",
        "DAYBOOK_GRPC": "127.0.0.1:0",
        "DAYBOOK_NATS_URL": nats_server.url,
        "DAYBOOK_NATS_PASSWORD": nats_server.password,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.api", env=environment, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def until_ready(data: Path) -> None:
    async with asyncio.timeout(60):
        while not ready_file(data, "api").exists():
            await asyncio.sleep(0.02)


async def test_it_stops_when_told_although_somebody_listens(nats_server: NatsServer, tmp_path: Path) -> None:
    port = free_port()
    async with (
        api_process(nats_server, tmp_path, port) as process,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=HEADERS, timeout=60) as client,
    ):
        await until_ready(tmp_path)
        job = (await client.post("/v1/jobs", json={"skill": "s"})).json()["job_id"]
        waiting = asyncio.create_task(
            client.post("/v1/jobs", json={"skill": "s"}, headers={"Prefer": "wait=60"})
        )
        async with client.stream("GET", f"/v1/jobs/{job}/events") as answer:
            lines = answer.aiter_lines()
            assert await anext(lines) == "event: JobAccepted"
            connection = await nats_server.connect()
            async with asyncio.timeout(30):
                while (await api(connection, "STREAM.INFO.JOURNAL"))["state"]["last_seq"] < 2:
                    await asyncio.sleep(0.02)  # until the second job is accepted, and waited for
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(40):
                rest = [line async for line in lines]
        assert rest
        assert (await waiting).status_code == 202
        async with asyncio.timeout(40):
            assert await process.wait() == 0
        assert not ready_file(tmp_path, "api").exists()


async def test_a_taken_port_is_told_and_ends_it(nats_server: NatsServer, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with api_process(nats_server, tmp_path, taken.getsockname()[1]) as process:
            async with asyncio.timeout(60):
                _, errors = await process.communicate()
            assert process.returncode == 1
            assert b"Address already in use" in errors


async def test_it_serves_through_an_outage_of_the_broker(nats_server: NatsServer, tmp_path: Path) -> None:
    port = free_port()
    async with (
        api_process(nats_server, tmp_path, port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=HEADERS, timeout=60) as client,
    ):
        await until_ready(tmp_path)
        first = (await client.post("/v1/jobs", json={"skill": "s"})).json()
        nats_server.server.kill()
        assert (await client.get("/livez")).status_code == 200
        down = await client.post("/v1/jobs", json={"skill": "s"}, headers={"Idempotency-Key": "k"})
        assert down.status_code == 503
        assert down.json()["code"] in ("journal_unavailable", "outcome_unknown")
        assert down.headers["retry-after"] == "1"
        assert (await client.get("/readyz")).status_code == 503
        nats_server.server.start()
        await nats_server.server.wait_ready()
        async with asyncio.timeout(60):
            while (
                answer := await client.post("/v1/jobs", json={"skill": "s"}, headers={"Idempotency-Key": "k"})
            ).status_code != 202:
                await asyncio.sleep(0.05)
        assert answer.json()["sequence"] > first["sequence"]
        assert (await client.get(f"/v1/jobs/{first['job_id']}")).json()["sequence"] == first["sequence"]
