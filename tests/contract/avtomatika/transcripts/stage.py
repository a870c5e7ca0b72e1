"""The running server and the people of the recordings: a client, workers that sign, and their jobs."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from itertools import count
from typing import Any, Final

import httpx

from tests.contract.avtomatika.transcripts.comparing import differences
from tests.support.system import CLIENT_TOKEN, WORKER_TOKEN, System

_NUMBERS = count(1)

BLUEPRINTS: Final = """
from daybook import Blueprint

one = Blueprint("one", api_version="v1", api_endpoint="jobs/one")

@one.handler(is_start=True)
async def start(initial_data, actions):
    actions.dispatch_task(
        task_type=initial_data["skill"],
        params=initial_data["params"],
        transitions={"success": "finished", "failure": "failed", "needs_review": "review"},
    )

@one.handler(is_end=True)
async def finished():
    pass

@one.handler(is_end=True)
async def failed():
    pass

@one.handler
async def review(actions):
    actions.go_to("finished")

bare = Blueprint("bare", api_version="v1", api_endpoint="jobs/bare")

@bare.handler(is_start=True)
async def start(initial_data, actions):
    actions.dispatch_task(initial_data["skill"], initial_data["params"], {"success": "finished"})

@bare.handler(is_end=True)
async def finished():
    pass

simple = Blueprint("simple", api_version="v1", api_endpoint="jobs/simple")

@simple.handler(is_start=True)
async def start(actions):
    actions.go_to("finished")

@simple.handler(is_end=True)
async def finished():
    pass

fan = Blueprint("fan", api_version="v1", api_endpoint="jobs/fan")

@fan.handler(is_start=True)
async def start(initial_data, actions):
    tasks = [{"type": initial_data["skill"], "params": {"i": i}} for i in (1, 2)]
    actions.dispatch_parallel(tasks=tasks, aggregate_into="finished")

@fan.aggregator("finished")
async def finished(aggregation_results, actions):
    actions.go_to("over")

@fan.handler(is_end=True)
async def over():
    pass

broken = Blueprint("broken", api_version="v1", api_endpoint="jobs/broken")

@broken.handler(is_start=True)
async def start(initial_data, actions):
    if not initial_data:
        actions.go_to("finished")
    raise OSError("broken")

@broken.handler(is_end=True)
async def finished():
    pass

ask = Blueprint("ask", api_version="v1", api_endpoint="jobs/ask")

@ask.handler(is_start=True)
async def start(actions):
    actions.await_human_approval(
        integration="mail", message="ok?", transitions={"approved": "finished", "rejected": "failed"}
    )

@ask.handler(is_end=True)
async def finished():
    pass

@ask.handler(is_end=True)
async def failed():
    pass
"""
CLIENTS: Final = """
[quota]
token = "quota-token"
monthly_attempts = 2
[open]
token = "no-quota-token"
[other]
token = "other-token"
"""
WORKERS: Final = """
[individual]
token = "token-of-individual"
["cpu-*"]
token = "token-of-cpus"
"""


class Stage:
    """One exchange at a time. What the recordings call <worker>, <job>, … is in `ids`."""

    def __init__(self, system: System, http: httpx.AsyncClient) -> None:
        number = next(_NUMBERS)
        self.system, self.http = system, http
        self.skill = f"skill-{number}"
        self.ids: dict[str, str] = {
            "worker": f"worker-{number}",
            "other-worker": f"other-{number}",
            "worker-token": WORKER_TOKEN,
            "client-token": CLIENT_TOKEN,
            "quota-token": "quota-token",
            "no-quota-token": "no-quota-token",
            "event": f"event-{number}",
            "hash": "0" * 64,
        }

    async def exchange(self, recorded: Mapping[str, Any]) -> set[str]:
        """Send a recorded request with today's ids, and compare the answer with the recorded one."""
        asked = recorded["request"]
        headers = {name: self.fill(value) for name, value in asked["headers"].items()}
        body = self.fill(asked.get("body"))
        if "/_worker/" in asked["path"] and isinstance(body, dict) and "security" in body:
            body = signed(body)
        answer = await self.send(asked["method"], self.fill(asked["path"]), headers, body)
        return self.compared(recorded["answer"], answer)

    def own(self, listed: Any) -> Any:
        """Of a list of workers, this test's own alone: others share the server."""
        if isinstance(listed, list) and listed and "worker_id" in listed[0]:
            return [each for each in listed if each["worker_id"] == self.ids["worker"]]
        return listed

    async def send(self, method: str, path: str, headers: Mapping[str, str], body: Any) -> httpx.Response:
        """A request; a body that is text is sent as it is."""
        content = body if body is None or isinstance(body, str) else json.dumps(body)
        return await self.http.request(method, path, headers=dict(headers), content=content)

    def compared(self, recorded: Mapping[str, Any], answer: httpx.Response) -> set[str]:
        shown = {name: value for name, value in self.ids.items() if name not in ("token", "client-token")}
        content = answer.content
        if content.startswith(b"[{"):
            content = json.dumps(self.own(answer.json())).encode()
        return differences(recorded, answer.status_code, answer.headers, content, shown)

    def fill(self, value: Any) -> Any:
        """Today's ids and times in place of those that the recording has masks for."""
        if isinstance(value, dict):
            return {name: self.fill(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if value == "<now>":
            return int(time.time())
        if isinstance(value, str):
            for name, own in self.ids.items():
                value = value.replace(f"<{name}>", own)
        return value

    async def register(self, name: str = "worker", *skills: str) -> None:
        """A worker with the test's skill."""
        listed = [{"name": skill, "type": skill} for skill in skills or (self.skill,)]
        answer = await self.as_worker(
            "POST", "/_worker/workers/register", {"supported_skills": listed, "worker_type": "probe"}, name
        )
        assert answer.status_code == 200, answer.text

    async def as_worker(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, name: str = "worker"
    ) -> httpx.Response:
        """A signed request of a worker."""
        worker = self.ids[name]
        headers = {"X-Worker-Token": WORKER_TOKEN, "X-Worker-ID": worker}
        content = None
        if body is not None:
            content = signed({"worker_id": worker, "timestamp": int(time.time()), **body}, worker)
        return await self.send(method, path, headers, content)

    async def submit(self, endpoint: str = "one", *, params: Any = None, **more: Any) -> str:
        """A job of the client; its id, which is <job> from now on."""
        given = {"skill": self.skill, "params": params or {}}
        body = {"initial_data": given, **more}
        answer = await self.as_client("POST", f"/api/v1/jobs/{endpoint}", body)
        assert answer.status_code == 202, answer.text
        self.ids["job"] = answer.json()["job_id"]
        return self.ids["job"]

    async def as_client(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return await self.send(method, path, {"X-Client-Token": CLIENT_TOKEN}, body)

    async def take(self) -> dict[str, Any]:
        """Poll for the test's task; it is <task> from now on."""
        path = f"/_worker/workers/{self.ids['worker']}/tasks/next"
        answer = await self.as_worker("GET", f"{path}?timeout=20")
        assert answer.status_code == 200, (answer.status_code, answer.text)
        task: dict[str, Any] = answer.json()
        self.ids["task"] = task["task_id"]
        return task

    async def hold(self, endpoint: str = "one", **options: Any) -> dict[str, Any]:
        """A registered worker that holds a task of a new job."""
        await self.register()
        await self.submit(endpoint, **options)
        return await self.take()

    async def result(self, **more: Any) -> dict[str, Any]:
        """Report the task that is held."""
        body = {"job_id": self.ids["job"], "task_id": self.ids["task"], **more}
        answer = await self.as_worker("POST", "/_worker/tasks/result", body)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def until(self, *statuses: str) -> dict[str, Any]:
        """The state of <job> when it has one of the statuses."""
        async with asyncio.timeout(60):
            while True:
                state: dict[str, Any] = (
                    await self.as_client("GET", f"/api/v1/jobs/{self.ids['job']}")
                ).json()
                if state["status"] in statuses:
                    return state
                await asyncio.sleep(0.02)


def signed(body: Mapping[str, Any], signer: str | None = None, token: str = WORKER_TOKEN) -> dict[str, Any]:
    """The body with a valid signature: HMAC-SHA256 over its JSON, sorted and compact, without `security`."""
    plain = {name: value for name, value in body.items() if name not in ("security", "bubbling_chain")}
    if "event_id" not in body and "bubbling_chain" in body:
        plain["bubbling_chain"] = body["bubbling_chain"]
    message = json.dumps(_plain(plain), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    signature = hmac.new(token.encode(), message.encode(), hashlib.sha256).hexdigest()
    named = signer or body.get("worker_id") or body.get("security", {}).get("signer_id")
    return {**body, "security": {"signature": signature, "signer_id": named}}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
