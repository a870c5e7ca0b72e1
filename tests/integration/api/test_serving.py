"""The API as its process composes it, on a real nats-server, with the real projector beside it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID

import httpx
import orjson
import pytest

from services.api import app as api
from services.api import lanes
from services.projector import app as projector
from shared.application.clock import utc_now
from shared.application.collecting import collected
from shared.application.definitions import Definitions
from shared.application.expressions import evaluate
from shared.application.ports import Decision
from shared.broker import subjects
from shared.broker.connection import Connection
from shared.broker.errors import UnsafeBroker
from shared.broker.publisher import Publisher
from shared.domain.graph import Graph
from shared.domain.job.job import Job
from shared.domain.job.spec import Facts
from shared.domain.topics import AGGREGATES, EVENTS
from shared.journal.codec import Codec
from shared.journal.journal import JetStreamJournal
from shared.process import Process
from shared.settings import Settings
from tests.support.nats import NatsServer
from tests.support.system import caught_up

pytestmark = pytest.mark.connected


@dataclass
class Served:
    """A running API, a client of it, and a journal to play the dispatcher and the workers."""

    client: httpx.AsyncClient
    connection: Connection
    journal: JetStreamJournal
    publisher: Publisher

    async def open_lane(self, skill: str, room: int) -> None:
        """Say as the dispatcher that a skill has room; returns when the API has heard it."""
        sequence = await self.journal.last_sequence()
        told = asyncio.Event()
        take = lanes.Lanes.heard

        def heard(self: lanes.Lanes, news: lanes.LanesNews) -> None:
            take(self, news)
            told.set()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lanes.Lanes, "heard", heard)
            self.publisher.publish(subjects.LANES, orjson.dumps({"as_of": sequence, "lanes": {skill: room}}))
            async with asyncio.timeout(60):
                await told.wait()

    async def succeed(self, job: str, output: int) -> int:
        recorded = await self.journal.load(Job, UUID(job))
        assert recorded is not None
        aggregate, facts = recorded.aggregate, Facts(utc_now(), Graph.of_skill("resize"), evaluate)
        if any(task.status == "queued" for task in aggregate.tasks.values()):
            aggregate.release(1, facts)
        aggregate.succeed(1, 1, "w1", output, facts)
        events = collected(aggregate)
        return (
            await self.journal.append(Decision("job", UUID(job), events, "worker:w1", recorded.tip))
        ).sequence

    async def succeed_next(self, output: int) -> None:
        """Let the next job that is released succeed."""
        async for commits in self.journal.follow(await self.journal.last_sequence(), ("job",)):
            await self.succeed(str(commits[0].id), output)
            return


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@asynccontextmanager
async def serving(nats_server: NatsServer, data: Path, *, project: bool = True) -> AsyncIterator[Served]:
    """The processes' own composition, on this loop, until the test is over."""
    address = f"127.0.0.1:{free_port()}"
    settings = Settings.from_env(
        data=data,
        http=address,
        grpc="127.0.0.1:0",
        nats_url=nats_server.url,
        nats_password=nats_server.password,
    )
    processes = {"api": api.main, **({"projector": projector.main} if project else {})}
    made = {role: Process(role, data) for role in processes}
    tasks = [asyncio.create_task(main(settings, made[role])) for role, main in processes.items()]
    connection = await nats_server.connect()
    publisher = await Publisher.start(connection, timeout=60)
    journal = JetStreamJournal(publisher, Codec(EVENTS, AGGREGATES), sync_always=False, timeout=60)
    headers = {"Authorization": f"Bearer {settings.client_token}"}
    async with httpx.AsyncClient(base_url=f"http://{address}", headers=headers, timeout=40) as client:
        async with asyncio.timeout(60):
            while not all(process.ready_file.exists() for process in made.values()):
                await asyncio.sleep(0.01)
        try:
            yield Served(client, connection, journal, publisher)
        finally:
            for process in made.values():
                process.stopping.set()
            async with asyncio.timeout(30):
                await asyncio.gather(*tasks)


async def test_a_job_goes_its_way(nats_server: NatsServer, tmp_path: Path) -> None:
    async with serving(nats_server, tmp_path) as served:
        client = served.client
        answer = await client.post("/v1/jobs", json={"skill": "resize", "input": {"n": 1}})
        assert answer.status_code == 202, answer.text
        job = answer.json()["job_id"]
        sequence = await served.succeed(job, 42)
        shown = await caught_up(client, f"/v1/jobs/{job}?min_sequence={sequence}")
        assert (shown["status"], shown["output"]) == ("succeeded", 42)
        listed = await caught_up(client, f"/v1/jobs?min_sequence={sequence}&status=succeeded")
        assert [item["job_id"] for item in listed["items"]] == [job]
        assert (await client.get("/v1/stats")).json()["jobs"]["succeeded"] == 1
        history = (await client.get(f"/v1/jobs/{job}/history")).json()
        assert [event["version"] for event in history] == list(range(1, len(history) + 1))
        assert history[-1]["type"] == "JobSucceeded"


async def test_waiting_sees_the_job_end(nats_server: NatsServer, tmp_path: Path) -> None:
    async with serving(nats_server, tmp_path, project=False) as served:
        working = asyncio.create_task(served.succeed_next(7))
        await served.open_lane("resize", 1)
        answer = await served.client.post("/v1/jobs", json={"skill": "resize"}, headers={"Prefer": "wait=30"})
        await working
        assert (answer.status_code, answer.json()["output"]) == (200, 7)


async def test_the_lanes_open_and_close_as_the_dispatcher_says(
    nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "FRESH_SECONDS", 60.0)
    async with serving(nats_server, tmp_path, project=False) as served:
        await served.open_lane("resize", 2)
        answers = [await served.client.post("/v1/jobs", json={"skill": "resize"}) for _ in range(3)]
        released = []
        for answer in answers:
            commits = await served.journal.history("job", UUID(answer.json()["job_id"]))
            released.append(commits[0].skill == "resize")
        assert released == [True, True, False]


async def test_events_stream_while_they_happen(nats_server: NatsServer, tmp_path: Path) -> None:
    async with serving(nats_server, tmp_path, project=False) as served:
        job = (await served.client.post("/v1/jobs", json={"skill": "resize"})).json()["job_id"]
        seen = []
        async with served.client.stream("GET", f"/v1/jobs/{job}/events") as answer:
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    seen.append(line.removeprefix("event: "))
                if line.startswith("id: ") and len(seen) == 2:
                    await served.succeed(job, 1)
        assert seen[:2] == ["JobAccepted", "TaskQueued"]
        assert seen[-1] == "JobSucceeded"


async def test_a_command_is_answered_by_the_dispatcher_or_not_at_all(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with serving(nats_server, tmp_path, project=False) as served:
        job = (await served.client.post("/v1/jobs", json={"skill": "resize"})).json()["job_id"]
        nobody = await served.client.post(f"/v1/jobs/{job}/cancel")
        assert (nobody.status_code, nobody.json()["code"]) == (503, "dispatcher_unavailable")

        def decide(subject: bytes, reply: bytes, _header: bytes, data: bytes) -> None:
            asked.append((subjects.id_in(subject.decode()), orjson.loads(data)))
            answer = {"ok": True, "sequence": 9, "status": "cancelled", "changed": True}
            served.publisher.publish(reply, orjson.dumps(answer))

        asked: list[tuple[UUID, object]] = []
        await served.connection.listen(subjects.COMMANDS, decide)
        answer = await served.client.post(f"/v1/jobs/{job}/cancel", json={"reason": "enough"})
        assert answer.json() == {"job_id": job, "sequence": 9, "status": "cancelled", "changed": True}
        assert asked == [(UUID(job), {"command": "cancel", "by": "client:client", "reason": "enough"})]


async def test_one_key_is_one_job_also_at_once(nats_server: NatsServer, tmp_path: Path) -> None:
    async with serving(nats_server, tmp_path, project=False) as served:
        headers = {"Idempotency-Key": "order-17"}
        answers = await asyncio.gather(
            *(served.client.post("/v1/jobs", json={"skill": "s"}, headers=headers) for _ in range(30))
        )
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.text for answer in answers}) == 1
        assert await served.journal.last_sequence() == 1


async def test_ready_tells_what_is_missing(nats_server: NatsServer, tmp_path: Path) -> None:
    async with serving(nats_server, tmp_path, project=False) as served:
        answer = await served.client.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
        checks = answer.json()["checks"]
        assert checks["broker"]["ok"]
        assert not checks["projector"]["ok"]
        assert (await served.client.get("/livez")).status_code == 200


async def test_with_all_in_place_it_is_ready(nats_server: NatsServer, tmp_path: Path) -> None:
    async with serving(nats_server, tmp_path) as served:
        answer = await served.client.get("/v1/health/ready")
        assert answer.status_code == 200, answer.text


async def test_a_workflow_published_elsewhere_is_seen_here(
    nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = partial(Definitions, max_age_seconds=3600.0)  # then only news can tell of it
    monkeypatch.setattr(api, "Definitions", never)

    def graph(skill: str) -> dict[str, object]:
        return {"graph": {"nodes": {"n": {"kind": "task", "skill": skill}}, "edges": []}}

    async with (
        serving(nats_server, tmp_path / "a", project=False) as one,
        serving(nats_server, tmp_path / "b", project=False) as two,
    ):
        assert (await one.client.put("/v1/workflows/flow", json=graph("first"))).status_code == 201
        assert (await two.client.get("/v1/workflows/flow")).json()["version"] == 1
        assert (await one.client.put("/v1/workflows/flow", json=graph("second"))).json()["version"] == 2
        async with asyncio.timeout(30):
            while (await two.client.get("/v1/workflows/flow")).json()["version"] != 2:
                await asyncio.sleep(0.01)


async def test_production_refuses_a_broker_that_may_forget(nats_server: NatsServer, tmp_path: Path) -> None:
    settings = Settings.from_env(
        profile="production",
        data=tmp_path,
        http=f"127.0.0.1:{free_port()}",
        grpc="127.0.0.1:0",
        nats_url=nats_server.url,
        nats_password=nats_server.password,
        client_token="a-token-that-is-long",
        worker_token="another-that-is-long",
    )
    with pytest.raises(UnsafeBroker, match="not always"):
        await api.main(settings, Process("api", tmp_path))
