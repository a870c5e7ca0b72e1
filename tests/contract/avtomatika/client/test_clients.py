"""The clients' API on the whole system: what was recorded of the wire, where the documents agree."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import orjson
import pytest

from tests.support.system import System

pytestmark = [pytest.mark.connected, pytest.mark.slow]

FLOW = """
from daybook import Blueprint

bp = Blueprint("simple_flow", api_version="v1", api_endpoint="jobs/simple_flow")

@bp.handler(is_start=True)
async def start(initial_data, actions):
    if initial_data.get("ask"):
        actions.await_human_approval(
            integration="mail", message="ok?", transitions={"approved": "finished", "rejected": "failed"}
        )
    elif initial_data.get("work"):
        actions.dispatch_task(
            task_type="nobody", params={}, transitions={"success": "finished", "failure": "failed"}
        )
    else:
        actions.go_to("finished")

@bp.handler(is_end=True)
async def finished(actions):
    pass

@bp.handler(is_end=True)
async def failed(actions):
    pass
"""
CLIENTS = """
[alice]
token = "token-alice"
[bob]
token = "token-bob"
[few]
token = "few"
monthly_attempts = 1
"""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("clients")
    (folder / "blueprints").mkdir()
    (folder / "blueprints" / "flow.py").write_text(FLOW)
    (folder / "clients.toml").write_text(CLIENTS)
    environment = {"CLIENTS_CONFIG_PATH": str(folder / "clients.toml"), "REDIS_HOST": "redis"}
    made = System(folder / "data", environment, "--blueprints", str(folder / "blueprints"))
    try:
        asyncio.run(made.start())
        yield made
        asyncio.run(made.stop())
    finally:
        made.destroy()


@pytest.fixture
async def alice(system: System) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(system, "token-alice") as client:
        yield client


def client_of(system: System, token: str | None) -> httpx.AsyncClient:
    headers = {} if token is None else {"X-Client-Token": token}
    return httpx.AsyncClient(base_url=system.http, headers=headers, timeout=90)


async def submitted(client: httpx.AsyncClient, **body: Any) -> str:
    answer = await client.post("/api/v1/jobs/simple_flow", json=body)
    assert answer.status_code == 202, answer.text
    assert sorted(answer.json()) == ["job_id", "status"]
    return str(answer.json()["job_id"])


async def until_status(client: httpx.AsyncClient, job: str, status: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            state: dict[str, Any] = (await client.get(f"/api/v1/jobs/{job}")).json()
            if state["status"] == status:
                return state
            await asyncio.sleep(0.02)


TRANSCRIPT = [
    ("POST", "/api/v1/jobs/nope/cancel", None, 404, {"error": "Job not found"}),
    ("GET", "/api/v1/jobs/nope/history", None, 404, {"error": "Job not found"}),
    ("GET", "/api/v1/jobs?limit=x", None, 400, {"error": "Invalid limit/offset parameter"}),
    ("GET", "/api/v1/blueprints/zzz/graph", None, 404, {"error": "Blueprint not found"}),
    ("POST", "/api/v1/jobs/simple_flow", b"{nope", 400, {"error": "Invalid JSON body"}),
    ("POST", "/_public/webhooks/approval/nope", b'{"decision":"approved"}', 404, {"error": "Job not found"}),
    ("GET", "/_public/status", None, 200, {"status": "ok"}),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "content"), TRANSCRIPT)
async def test_it_answers_as_recorded(
    alice: httpx.AsyncClient, method: str, path: str, body: bytes | None, status: int, content: object
) -> None:
    answer = await alice.request(method, path, content=body)
    assert (answer.status_code, answer.json()) == (status, content)
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


async def test_the_graph_is_the_recorded_text(alice: httpx.AsyncClient) -> None:
    answer = await alice.get("/api/v1/blueprints/simple_flow/graph")
    assert answer.headers["content-type"] == "text/vnd.graphviz; charset=utf-8"
    assert answer.text.startswith(
        "// State Machine for simple_flow\ndigraph {\n\tnode [shape=box style=rounded]\n"
    )
    assert "\tstart -> finished\n" in answer.text


async def test_a_plain_job_ends_with_the_recorded_history(alice: httpx.AsyncClient) -> None:
    job = await submitted(alice, initial_data={})
    state = await until_status(alice, job, "finished")
    assert state["current_state"] == "finished"
    events = (await alice.get(f"/api/v1/jobs/{job}/history")).json()
    assert [event["version"] for event in events] == list(range(1, len(events) + 1))
    types = [event["event_type"] for event in events]
    recorded = ["job_created", "state_started", "state_finished", "state_started", "job_completed"]
    found = iter(types)
    assert all(name in found for name in recorded), types


async def test_a_person_decides(system: System, alice: httpx.AsyncClient) -> None:
    job = await submitted(alice, initial_data={"ask": True})
    await until_status(alice, job, "waiting_for_human")
    async with client_of(system, None) as anybody:
        path = f"/_public/webhooks/approval/{job}"
        wrong = await anybody.post(path, json={"decision": "maybe"})
        assert (wrong.status_code, wrong.json()) == (400, {"error": "Invalid decision 'maybe' for this job"})
        right = await anybody.post(path, json={"decision": "rejected"})
        assert right.json() == {"job_id": job, "status": "approval_received"}
        assert (await anybody.post(path, json={"decision": "approved"})).status_code == 409
    await until_status(alice, job, "failed")


async def test_a_task_nobody_takes_waits_and_can_be_cancelled(alice: httpx.AsyncClient) -> None:
    job = await submitted(alice, initial_data={"work": True})
    await until_status(alice, job, "waiting_for_worker")
    for _ in range(2):
        answer = await alice.post(f"/api/v1/jobs/{job}/cancel")
        assert answer.json()["status"] == "cancellation_request_accepted"
    await until_status(alice, job, "cancelled")


async def test_a_task_that_nobody_takes_in_time_ends_the_wait(alice: httpx.AsyncClient) -> None:
    job = await submitted(alice, initial_data={"work": True}, dispatch_timeout=1)
    state = await until_status(alice, job, "failed")
    assert state["dispatch_timeout"] == 1


async def test_a_result_that_is_late_fails_the_job(alice: httpx.AsyncClient) -> None:
    job = await submitted(alice, initial_data={"work": True}, result_timeout=1)
    await until_status(alice, job, "failed")


async def test_clients_are_told_apart(system: System, alice: httpx.AsyncClient) -> None:
    job = await submitted(alice)
    async with client_of(system, "token-bob") as bob, client_of(system, "few") as few:
        assert (await bob.get(f"/api/v1/jobs/{job}")).status_code == 404
        assert (await few.get("/api/v1/dashboard")).status_code == 200
        refused = await few.get("/api/v1/dashboard")
        assert (refused.status_code, refused.json()) == (429, {"error": "Quota exceeded or not configured"})


async def test_a_variable_without_a_meaning_is_said_once(system: System) -> None:
    said = [line for line in system.printed().splitlines() if "REDIS_HOST" in line]
    assert len(said) == 1
    assert "there is no Redis" in said[0]


@pytest.fixture
def hook() -> Iterator[tuple[Callable[[], str], list[dict[str, Any]]]]:
    """A receiver of webhooks that can be started late."""
    came: list[dict[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(orjson.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)

    def start() -> str:
        thread.start()
        return ""

    came.append({"url": f"http://127.0.0.1:{server.server_port}/hook"})
    try:
        yield start, came
    finally:
        if thread.is_alive():
            server.shutdown()
            thread.join()
        server.server_close()


async def test_a_webhook_survives_the_death_of_its_sender(
    system: System, alice: httpx.AsyncClient, hook: tuple[Callable[[], str], list[dict[str, Any]]]
) -> None:
    start, came = hook
    url = came.pop()["url"]  # it accepts connections and does not answer yet
    job = await submitted(alice, initial_data={"x": 1}, webhook_url=url)
    await until_status(alice, job, "finished")
    await system.kill("projector")
    start()
    async with asyncio.timeout(40):
        while not any(message["job_id"] == job for message in came):
            await asyncio.sleep(0.05)
    message = next(message for message in came if message["job_id"] == job)
    assert (message["event"], message["status"], message["error"]) == ("job_finished", "finished", None)
    await system.until_serving()


async def test_development_can_throw_everything_away(system: System, alice: httpx.AsyncClient) -> None:
    job = await submitted(alice)
    await until_status(alice, job, "finished")
    answer = await alice.post("/_public/debug/flush_db")
    assert (answer.status_code, answer.json()) == (200, {"status": "db_flushed"})
    assert (await alice.get(f"/api/v1/jobs/{job}")).status_code == 404
    assert (await alice.get("/api/v1/dashboard")).json()["jobs"] == {"queued": 0}
    again = await submitted(alice)
    await until_status(alice, again, "finished")
    async with asyncio.timeout(60):  # the list is of rows, which follow
        while not (listed := (await alice.get("/api/v1/jobs")).json()):
            await asyncio.sleep(0.02)
    assert [event["job_id"] for event in listed] == [again]
