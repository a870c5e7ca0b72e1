"""The dialect over a journal in memory, with a blueprint whose handlers the test plays."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from services.api.dialects.avtomatika.clients import Clients
from services.api.dialects.avtomatika.limits import RateLimit
from services.api.dialects.avtomatika.parts import AvtomatikaParts
from services.api.dialects.avtomatika.quotas import Quotas
from services.api.dialects.avtomatika.routes import dialect_of
from services.api.dialects.avtomatika.worker_directory import NoWorkers
from services.api.file_links import links_of
from services.api.http import server_of
from shared.application.clock import now_seconds, utc_now
from shared.application.collecting import collected
from shared.application.endpoints import Endpoints
from shared.application.expressions import evaluate
from shared.application.files import Files
from shared.application.ports import Decision
from shared.domain.graph import Graph
from shared.domain.job import Action, AwaitApproval, Dispatch, Facts, GoTo, Job, RunHandler, TaskSpec
from shared.files.config import files_config
from shared.files.observed import ObservedFiles
from shared.files.opening import open_files, open_links
from shared.settings import Settings, UnusableFile
from tests.unit.api.world import World as NativeWorld
from tests.unit.api.world import world as native_world

CLIENTS = """
[alice]
token = "token-alice"
plan = "gold"
languages = ["en"]
[bob]
token = "token-bob"
[zoe]
token = "schlüssel-à"
[few]
token = "token-few"
monthly_attempts = 2
"""
FLOW: dict[str, Any] = {
    "entry": "start",
    "nodes": {
        "start": {"kind": "state", "handler": "start"},
        "finished": {"kind": "state", "handler": "finished"},
        "finished:end": {"kind": "end", "outcome": "succeeded"},
        "failed": {"kind": "state", "handler": "failed"},
        "failed:end": {"kind": "end", "outcome": "failed"},
    },
    "edges": [
        {"from": "start", "port": "to finished", "to": "finished"},
        {"from": "start", "port": "to failed", "to": "failed"},
        {"from": "finished", "port": "end", "to": "finished:end"},
        {"from": "failed", "port": "end", "to": "failed:end"},
    ],
    "meta": {"api_version": "v1", "api_endpoint": "jobs/flow"},
}


class Workers(NoWorkers):
    """What the workers that the test has say of themselves; None: there is no file of workers."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] | None = None
        self.unusable = ""

    def registrations(self) -> list[dict[str, Any]]:
        return self.told or []

    def reload(self) -> bool:
        if self.unusable:
            raise UnusableFile(self.unusable)
        return self.told is not None


class World:
    """The server, and hands on its jobs."""

    def __init__(self, native: NativeWorld, settings: Settings, clients: Path) -> None:
        self.native, self.settings = native, settings
        self.endpoints = Endpoints(native.journal)
        self.clients = Clients("dev-client-token", clients, Quotas(None, utc_now))
        parts, self.workers = native.parts, Workers()
        self.parts = AvtomatikaParts(
            journal=parts.journal,
            reads=parts.reads,
            dispatcher=parts.dispatcher,
            submit=parts.submit,
            definitions=parts.definitions,
            endpoints=self.endpoints,
            clients=self.clients,
            settings=settings,
            metrics=parts.metrics,
            workers=self.workers,
            rate=RateLimit(settings.rate_limit, 60.0) if settings.rate_limiting_enabled else None,
            files=self._opened(settings),
        )
        dialects = [dialect_of(self.parts)]
        if self.parts.files is not None:
            dialects.append(links_of(self.parts.files, self.links))
        self.server = server_of(replace(parts, dialects=dialects))

    def _opened(self, settings: Settings) -> Files | None:
        config = files_config(settings)
        if config is None:
            return None
        links = open_links(config, now_seconds)
        assert links is not None
        self.links = links
        return ObservedFiles(open_files(config, now_seconds), self.native.parts.metrics.file_operation)

    async def publish(self, name: str = "flow", **changes: Any) -> None:
        graph = {**FLOW, **changes}
        await self.native.parts.publish("default", name, graph, "test")

    def client(self, token: str | None = "token-alice") -> httpx.AsyncClient:
        headers = {} if token is None else {"X-Client-Token": token}
        transport = httpx.ASGITransport(app=self.server)
        return httpx.AsyncClient(transport=transport, base_url="http://daybook", headers=headers)

    async def submit(self, body: Mapping[str, Any] | None = None, token: str = "token-alice") -> str:
        async with self.client(token) as client:
            answer = await client.post("/api/v1/jobs/flow", json=dict(body or {}))
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    async def act(self, job: str, action: Action) -> None:
        """What the handler that is awaited yields."""

        def decide(aggregate: Job, facts: Facts) -> None:
            (effect,) = [each for each in aggregate.outstanding() if isinstance(each, RunHandler)]
            aggregate.act(effect.activation, action, facts)

        await self.decide(job, decide)

    async def decide(self, job: str, decide: Any) -> None:
        recorded = await self.native.journal.load(Job, UUID(job))
        assert recorded is not None
        aggregate = recorded.aggregate
        decide(aggregate, Facts(utc_now(), Graph.parse(FLOW), evaluate))
        decision = Decision("job", UUID(job), collected(aggregate), "system:dispatcher", recorded.tip)
        await self.native.journal.append(decision)

    async def finish(self, job: str, context: Mapping[str, Any] | None = None) -> None:
        await self.act(job, GoTo("finished", context=context or {}))
        await self.act(job, GoTo("finished:end"))

    async def work(self, job: str, output: Any) -> None:
        """Dispatch a task to a worker, which gives `output`; then the job is in the state finished."""
        spec = TaskSpec("resize", {"n": 1}, remember=True)
        await self.act(job, Dispatch(spec, {"success": "finished", "failure": "failed"}))

        def claim(aggregate: Job, facts: Facts) -> None:
            if any(task.status == "queued" for task in aggregate.tasks.values()):
                aggregate.release(1, facts)
            aggregate.claim(1, 1, "w1", timedelta(seconds=60), facts)

        await self.decide(job, claim)
        await self.decide(job, lambda aggregate, facts: aggregate.progress(1, 1, "w1", 0.5, "half", facts))
        await self.decide(job, lambda aggregate, facts: aggregate.succeed(1, 1, "w1", output, facts))

    async def ask(self, job: str) -> None:
        """Wait for a person."""
        await self.act(job, AwaitApproval("manager", {"approved": "finished", "rejected": "failed"}))

    async def state(self, job: str, token: str = "token-alice", query: str = "") -> dict[str, Any]:
        async with self.client(token) as client:
            answer = await client.get(f"/api/v1/jobs/{job}{query}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@asynccontextmanager
async def world(tmp_path: Path, **settings: Any) -> AsyncIterator[World]:
    """A world with the flow published."""
    file = tmp_path / "clients.toml"
    file.write_text(CLIENTS, "utf-8")
    async with native_world() as native:
        made = World(native, Settings.from_env(**settings), file)
        following = asyncio.create_task(made.endpoints.run())
        try:
            await made.publish()
            async with asyncio.timeout(30):
                while await made.endpoints.find("default", "v1", "jobs/flow") is None:
                    pass  # it waits
            yield made
        finally:
            following.cancel()
            await asyncio.wait({following})
