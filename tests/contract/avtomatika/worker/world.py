"""What tests of workers say and ask: raw requests of a worker, jobs of a client, and what came of them."""

import asyncio
import json
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.system import WORKER_TOKEN, System

_TAGS = count(1)
LAST = frozenset({"succeeded", "failed", "timed_out", "cancelled", "quarantined"})


class World:
    """A serving system, a client of it, and the folder of the test."""

    def __init__(self, system: System, folder: Path, tokens: Path) -> None:
        """Tests share the system; each has names of its own, so that what one leaves behind hurts none."""
        self.system, self.folder, self.tokens = system, folder, tokens
        self._tag = next(_TAGS)
        self.client = system.client(timeout=60.0)
        self.http = httpx.AsyncClient(base_url=system.http, timeout=60.0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.aclose()
        await self.client.aclose()

    def named(self, name: str) -> str:
        """A worker or skill of this test's own."""
        return f"{name}-{self._tag}"

    def worker(self, name: str = "w1", token: str | None = WORKER_TOKEN) -> "HttpWorker":
        """A worker of this test's own."""
        return self.stranger(self.named(name), token)

    def stranger(self, name: str, token: str | None = WORKER_TOKEN) -> "HttpWorker":
        """A worker of exactly that name."""
        return HttpWorker(self.http, name, token)

    async def submit(self, skill: str, given: object = None, **options: Any) -> str:
        """A job of one task; its id."""
        answer = await self.client.post("/v1/jobs", json={"skill": skill, "input": given or {}, **options})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    async def job(self, job: str) -> dict[str, Any]:
        document: dict[str, Any] = (await self.client.get(f"/v1/jobs/{job}")).json()
        return document

    async def ended(self, job: str) -> dict[str, Any]:
        """The job when it has ended."""
        while (document := await self.job(job)).get("status") not in LAST:
            await asyncio.sleep(0.05)
        return document

    async def run(self, skill: str, given: object = None, **options: Any) -> dict[str, Any]:
        return await self.ended(await self.submit(skill, given, **options))

    async def cancel(self, job: str) -> None:
        answer = await self.client.post(f"/v1/jobs/{job}/cancel", json={})
        assert answer.status_code == 200, answer.text

    async def events(self, job: str, kind: str) -> list[dict[str, Any]]:
        """The data of the job's events of a kind."""
        history = (await self.client.get(f"/v1/jobs/{job}/history")).json()
        events = history["events"] if isinstance(history, dict) else history
        return [event["data"] for event in events if event["type"] == kind]

    async def happened(self, job: str, kind: str) -> list[dict[str, Any]]:
        """The same, when there is at least one."""
        while not (found := await self.events(job, kind)):
            await asyncio.sleep(0.05)
        return found

    @property
    def log(self) -> Path:
        return self.folder / "probe.log"

    def noted(self) -> list[dict[str, Any]]:
        """What the SDK's skills wrote down."""
        text = self.log.read_text() if self.log.exists() else ""
        whole = text[: text.rfind("\n") + 1]  # the last line may be on its way
        return [json.loads(line) for line in whole.splitlines()]

    async def until_noted(self, name: str) -> dict[str, Any]:
        """The first note that has `name`."""
        while True:
            for note in self.noted():
                if name in note:
                    return note
            await asyncio.sleep(0.02)


class HttpWorker:
    """A worker of the bare wire. Each call is one request."""

    def __init__(self, http: httpx.AsyncClient, name: str, token: str | None) -> None:
        self._http, self.name = http, name
        self.headers = {"X-Worker-ID": name} | ({} if token is None else {"X-Worker-Token": token})

    async def register(self, *skills: str | dict[str, Any], **more: Any) -> httpx.Response:
        body = {"worker_id": self.name, "supported_skills": list(skills), **more}
        return await self.post("/_worker/workers/register", body)

    async def beat(self, body: Mapping[str, Any] | None = None) -> httpx.Response:
        path = f"/_worker/workers/{self.name}"
        return await self._http.patch(path, headers=self.headers, json=body)

    async def poll(self, seconds: float = 10.0, **query: str) -> httpx.Response:
        params = {"timeout": str(seconds), **query}
        path = f"/_worker/workers/{self.name}/tasks/next"
        return await self._http.get(path, headers=self.headers, params=params)

    async def task(self, seconds: float = 20.0) -> dict[str, Any]:
        """The next task; there must be one."""
        answer = await self.poll(seconds)
        assert answer.status_code == 200, (answer.status_code, answer.text)
        document: dict[str, Any] = answer.json()
        return document

    async def result(self, task: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        body = {"job_id": task["job_id"], "task_id": task["task_id"], "worker_id": self.name, **more}
        answer = await self.post("/_worker/tasks/result", body)
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    async def event(self, kind: str, task: Mapping[str, Any], payload: Mapping[str, Any]) -> httpx.Response:
        body = {
            "event_id": f"{kind}-1",
            "worker_id": self.name,
            "event_type": kind,
            "payload": payload,
            "target_job_id": task["job_id"],
            "target_task_id": task["task_id"],
        }
        return await self.post("/_worker/events", body)

    async def post(self, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        return await self._http.post(path, headers=self.headers, json=body)
