"""What the unmodified SDK said in each recorded scenario, said to Daybook.

The other side was a stub, which did wrong on purpose in many of them. Here every request must get an answer
with which the SDK goes on: as recorded, those are 2xx in JSON, tasks whose numbers are integers, and 404
"Worker not found" only to a worker that is not registered.
"""

import asyncio
import json
import time
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.contract.avtomatika.transcripts.comparing import recording
from tests.contract.avtomatika.transcripts.stage import Stage, signed
from tests.support.system import WORKER_TOKEN

pytestmark = [pytest.mark.connected, pytest.mark.slow]

SCENARIOS = recording("08_worker_vs_stub")
CANCELLING = next(scenario for scenario in SCENARIOS if scenario["name"] == "cancel_hb")
INTEGERS = ("timestamp", "deadline", "step", "depth", "priority")


class Sdk:
    """The SDK's side of one scenario."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.tasks = stage, list[dict[str, Any]]()
        self.registered = False
        self.access: str | None = None
        self.refreshing = ""

    async def say(self, said: dict[str, Any]) -> None:
        kind, known = said["kind"], self.registered
        answer: httpx.Response = await getattr(self, kind)(said)
        if kind == "hb" and answer.status_code == 404:
            assert (known, answer.json()) == (False, {"error": "Worker not found"})
            return
        assert answer.status_code in (200, 204), (kind, answer.status_code, answer.text)
        if answer.status_code == 200:
            assert answer.headers["content-type"].startswith("application/json")
            assert isinstance(answer.json(), dict)

    async def register(self, said: dict[str, Any]) -> httpx.Response:
        skills = [{"name": self.stage.skill, "type": self.stage.skill}]
        self.registered = True
        return await self.ask("POST", "/_worker/workers/register", {"supported_skills": skills})

    async def hb(self, said: dict[str, Any]) -> httpx.Response:
        status, held = said["body"]["status"], [task["task_id"] for task in self.tasks]
        body: dict[str, Any] = {"status": status, "current_tasks": held[: said["body"]["holds"]]}
        body |= {
            name: {"usage": {"cpu_load_percent": 0}, "supported_skills": []}[name]
            for name in set(said["body"]["keys"]) - set(body)
        }
        answer = await self.ask("PATCH", self.own(), body)
        if status == "offline":
            self.registered = False
        return answer

    async def poll(self, said: dict[str, Any]) -> httpx.Response:
        wanted = said["reply"].get("task")
        if wanted:
            await self.stage.submit("bare")
        answer = await self.ask("GET", f"{self.own()}/tasks/next?timeout={20 if wanted else 0.05}")
        assert (answer.status_code == 200) == bool(wanted), answer.text
        if wanted:
            task = answer.json()
            assert {type(task[name]) for name in INTEGERS if name in task} == {int}
            assert all(isinstance(task[name], str) for name in ("job_id", "task_id", "type"))
            self.tasks.append(task)
        return answer

    async def result(self, said: dict[str, Any]) -> httpx.Response:
        task = self.tasks.pop(0) if self.tasks else {"job_id": "gone", "task_id": "gone"}
        body = {**said["body"], "job_id": task["job_id"], "task_id": task["task_id"]}
        answer = await self.ask("POST", "/_worker/tasks/result", body)
        assert answer.json()["status"] == ("accepted" if "type" in task else "ignored")
        return answer

    async def event(self, said: dict[str, Any]) -> httpx.Response:
        return await self.ask("POST", "/_worker/events", self.about(said))

    async def frame(self, said: dict[str, Any]) -> httpx.Response:
        """Over HTTP too, which takes just the same: the socket never answers."""
        return await self.event(said)

    async def ws(self, said: dict[str, Any]) -> httpx.Response:
        url = f"ws://127.0.0.1:{self.stage.system.http_port}/_worker/ws/{self.stage.ids['worker']}"
        headers = {"X-Worker-Token": WORKER_TOKEN, "X-Worker-ID": self.stage.ids["worker"]}
        async with connect(url, additional_headers=headers):
            return httpx.Response(204)

    async def sts(self, said: dict[str, Any]) -> httpx.Response:
        return self.keep(await self.ask("POST", "/_worker/auth/token"))

    async def refresh(self, said: dict[str, Any]) -> httpx.Response:
        body = {"refresh_token": self.refreshing}
        return self.keep(await self.ask("POST", "/_worker/auth/token/refresh", body))

    def keep(self, answer: httpx.Response) -> httpx.Response:
        """From now on the short-lived token is shown, and signed with."""
        pair = answer.json()
        assert pair["worker_id"] == self.stage.ids["worker"]
        self.access, self.refreshing = pair["access_token"], pair["refresh_token"]
        return answer

    def about(self, said: dict[str, Any]) -> dict[str, Any]:
        task = self.tasks[0] if self.tasks else {}
        named = {"target_job_id": task.get("job_id"), "target_task_id": task.get("task_id")}
        return {**said["body"], "event_id": f"e{time.monotonic_ns()}", **named}

    def own(self) -> str:
        return f"/_worker/workers/{self.stage.ids['worker']}"

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        worker, token = self.stage.ids["worker"], self.access or WORKER_TOKEN
        content = None
        if body is not None:
            content = signed({"worker_id": worker, "timestamp": int(time.time()), **body}, worker, token)
        headers = {"X-Worker-Token": token, "X-Worker-ID": worker}
        return await self.stage.send(method, path, headers, content)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["name"])
async def test_the_sdk_can_go_on(stage: Stage, scenario: dict[str, Any]) -> None:
    sdk = Sdk(stage)
    for said in scenario["said"]:
        await sdk.say(said)


async def test_a_cancelled_task_is_told_in_the_recorded_words(stage: Stage) -> None:
    """`cancel_hb` and `cancel_ws`: a member of the heartbeat's answer, and a command over the socket."""
    replies = [said["reply"]["body"] for said in CANCELLING["said"] if said.get("reply", {}).get("body")]
    recorded = next(reply for reply in replies if "cancel_task_ids" in reply)
    task = await stage.hold()
    url = f"ws://127.0.0.1:{stage.system.http_port}/_worker/ws/{stage.ids['worker']}"
    headers = {"X-Worker-Token": WORKER_TOKEN, "X-Worker-ID": stage.ids["worker"]}
    async with connect(url, additional_headers=headers) as socket:
        await stage.as_client("POST", f"/api/v1/jobs/{stage.ids['job']}/cancel")
        command = json.loads(await asyncio.wait_for(socket.recv(), 20))
    assert (command["command"], command["task_id"]) == ("cancel_task", task["task_id"])
    beat = {"status": "idle", "current_tasks": [task["task_id"]]}
    answer = await stage.as_worker("PATCH", f"/_worker/workers/{stage.ids['worker']}", beat)
    assert answer.json().keys() == recorded.keys()
    assert answer.json()["cancel_task_ids"] == [task["task_id"]]
