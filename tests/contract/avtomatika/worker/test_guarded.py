"""Workers at a door with TLS, certificates, signatures, rate limits and several API processes' memory."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from services.api.dialects.avtomatika.quotas import subject_of
from shared.broker.connection import connect, disconnect
from shared.broker.counters import Counters
from shared.broker.publisher import Publisher
from tests.contract.avtomatika.worker.sdk import sdk_worker
from tests.contract.avtomatika.worker.world import HttpWorker
from tests.support.certificates import Authority, Certificate
from tests.support.system import CLIENT_TOKEN, WORKER_TOKEN, System

pytestmark = [pytest.mark.connected, pytest.mark.slow]

CLIENTS = """
[few]
token = "few"
monthly_attempts = 3
"""


class Guarded:
    """A system that speaks HTTPS and asks for certificates, with an authority."""

    def __init__(self, folder: Path) -> None:
        self.authority, self.stranger = Authority(folder), Authority(folder, "stranger")
        server = self.authority.issue("server")
        (folder / "clients.toml").write_text(CLIENTS)
        environment = {
            "TLS_CERT_PATH": str(server.cert),
            "TLS_KEY_PATH": str(server.key),
            "TLS_CA_PATH": str(self.authority.file),
            "RATE_LIMITING_ENABLED": "true",
            "RATE_LIMIT_LIMIT": "1000",
            "RATE_LIMIT_POLL_LIMIT": "30",
            "RATE_LIMIT_HEARTBEAT_LIMIT": "40",
            "CLIENTS_CONFIG_PATH": str(folder / "clients.toml"),
        }
        self.system = System(folder / "data", environment)

    @property
    def url(self) -> str:
        return self.system.http.replace("http:", "https:")

    def tls(self, certificate: Certificate | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.file))
        if certificate is not None:
            context.load_cert_chain(certificate.cert, certificate.key)
        return context

    def http(self, certificate: Certificate | None = None, **headers: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.url, verify=self.tls(certificate), timeout=40.0, headers=headers
        )

    async def run(self, skill: str, given: Any) -> Any:
        """The output of a job of one task."""
        async with self.http(Authorization=f"Bearer {CLIENT_TOKEN}", Prefer="wait=30") as client:
            answer = await client.post("/v1/jobs", json={"skill": skill, "input": given})
            assert answer.status_code == 200, answer.text
            return answer.json()["output"]

    async def metric(self, name: str) -> float:
        async with self.http() as client:
            lines = (await client.get("/_public/metrics")).text.splitlines()
        return sum(
            float(line.rpartition(" ")[2]) for line in lines if line.split("{")[0].split(" ")[0] == name
        )


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    made = Guarded(tmp_path_factory.mktemp("guarded"))
    try:
        asyncio.run(made.system.start())
        yield made
        asyncio.run(made.system.stop())
    finally:
        made.system.destroy()


async def test_a_certificate_is_who_a_worker_is(guarded: Guarded) -> None:
    own = guarded.authority.issue("certified-1")
    async with guarded.http(own) as http:
        worker = HttpWorker(http, "certified-1", None)
        assert (await worker.register("echo")).status_code == 200
        before = await guarded.metric("orchestrator_security_identity_mismatch_total")
        other = HttpWorker(http, "certified-2", WORKER_TOKEN)
        refused = await other.register("echo")
        assert refused.status_code == 403
        text = "Unauthorized: Certificate CN 'certified-1' does not match worker_id 'certified-2'"
        assert refused.json() == {"error": text}
        assert await guarded.metric("orchestrator_security_identity_mismatch_total") == before + 1
    async with guarded.http() as http:
        assert (await HttpWorker(http, "plain", WORKER_TOKEN).register("echo")).status_code == 200
        before = await guarded.metric("orchestrator_security_auth_failures_total")
        assert (await HttpWorker(http, "plain", None).register("echo")).status_code == 401
        assert await guarded.metric("orchestrator_security_auth_failures_total") == before + 1


async def test_a_certificate_of_somebody_else_gets_no_connection(guarded: Guarded) -> None:
    async with guarded.http(guarded.stranger.issue("certified-1")) as http:
        with pytest.raises(httpx.TransportError):
            await HttpWorker(http, "certified-1", None).register("echo")


async def test_a_certificate_opens_a_socket(guarded: Guarded) -> None:
    url = guarded.url.replace("https:", "wss:") + "/_worker/ws/"
    tls = guarded.tls(guarded.authority.issue("socket-1"))
    async with websockets.connect(url + "socket-1", ssl=tls) as socket:
        await socket.send("{}")
    with pytest.raises(websockets.InvalidStatus):
        await websockets.connect(url + "socket-2", ssl=tls)


async def test_the_sdk_works_with_a_certificate(guarded: Guarded, tmp_path: Path) -> None:
    own = guarded.authority.issue("certified-sdk")
    settings = {
        "TLS_CA_PATH": str(guarded.authority.file),
        "TLS_CERT_PATH": str(own.cert),
        "TLS_KEY_PATH": str(own.key),
    }
    with sdk_worker(guarded.url, "is-not-looked-at", tmp_path / "log", "certified-sdk", **settings):
        assert await guarded.run("end", {"answer": {"data": {"by": "sdk"}}}) == {"by": "sdk"}


async def test_a_worker_that_calls_too_often_is_told_when_to_come_again(guarded: Guarded) -> None:
    before = await guarded.metric("orchestrator_ratelimit_blocked_total")
    async with guarded.http() as http:
        worker, neighbour = HttpWorker(http, "busy", WORKER_TOKEN), HttpWorker(http, "calm", WORKER_TOKEN)
        await worker.register("nothing")
        polls = [await worker.poll(0) for _ in range(31)]
        # A window may have ended on the way; then the second one is used up.
        if polls[-1].status_code == 204:
            polls = [await worker.poll(0) for _ in range(31)]
        refused = polls[-1]
        assert refused.status_code == 429
        assert refused.json() == {"error": "Too Many Requests"}
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert (await neighbour.poll(0)).status_code == 204
        assert (await worker.beat({"worker_id": "busy"})).status_code == 200
    assert await guarded.metric("orchestrator_ratelimit_blocked_total") > before


async def test_polls_that_bring_work_are_not_limited(guarded: Guarded) -> None:
    async with guarded.http() as http:
        worker = HttpWorker(http, "hard-at-it", WORKER_TOKEN)
        await worker.register("count")
        for number in range(40):
            running = asyncio.create_task(guarded.run("count", {"n": number}))
            task = await worker.task()
            assert (await worker.result(task, data=task["params"]))["status"] == "accepted"
            assert await running == {"n": number}


async def until_counted(system: System, client: str, number: int) -> None:
    connection = await connect(system.nats, name="test", user="daybook", password=system.nats_password)
    try:
        counters = Counters(await Publisher.start(connection))
        subject = subject_of(datetime.now(UTC).strftime("%Y-%m"), client)
        async with asyncio.timeout(60):
            while await counters.value(subject) != number:
                await asyncio.sleep(0.02)
    finally:
        await disconnect(connection)


async def test_a_refresh_token_is_used_once_and_a_month_is_one_over_a_crash(guarded: Guarded) -> None:
    async with guarded.http() as http:
        worker = HttpWorker(http, "renewed", WORKER_TOKEN)
        pair = (await worker.post("/_worker/auth/token")).json()
        again = {"refresh_token": pair["refresh_token"]}
        assert (await worker.post("/_worker/auth/token/refresh", again)).status_code == 200
        headers = {"X-Client-Token": "few"}
        statuses = [(await http.get("/api/v1/jobs", headers=headers)).status_code for _ in range(2)]
        assert statuses == [200, 200]
    await until_counted(guarded.system, "few", 2)  # what was not is what a crash may forget
    await guarded.system.kill("api")
    async with guarded.http() as http:
        worker = HttpWorker(http, "renewed", WORKER_TOKEN)
        async with asyncio.timeout(30):
            while True:
                with suppress(httpx.TransportError):
                    refused = await worker.post("/_worker/auth/token/refresh", again)
                    break
                await asyncio.sleep(0.1)
        assert (refused.status_code, refused.json()["error"]) == (
            401,
            "Unauthorized: Invalid refresh token (used before)",
        )
        statuses = [(await http.get("/api/v1/jobs", headers=headers)).status_code for _ in range(2)]
        assert statuses == [200, 429]
        assert await guarded.metric("orchestrator_security_replay_detected_total") == 1
