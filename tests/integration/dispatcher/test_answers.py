"""Whom the dispatcher answers: who asks names the subject, and must not name one that is not an inbox."""

from uuid import UUID

import httpx
import orjson
import pytest

from shared.broker import subjects
from shared.broker.connection import connect, disconnect
from shared.broker.publisher import Publisher, line
from tests.integration.dispatcher.test_jobs import submit
from tests.support.system import WORKER_TOKEN, System

pytestmark = pytest.mark.connected


async def test_a_worker_cannot_have_an_answer_stored_as_a_commit(
    shared_system: System, client: httpx.AsyncClient
) -> None:
    job = UUID((await submit(client, skill="echo"))["job_id"])
    before = (await client.get(f"/v1/jobs/{job}/history")).json()
    connection = await connect(
        shared_system.nats, name="forger", user="worker", password=WORKER_TOKEN, inbox_prefix="_INBOX"
    )
    try:
        publisher = await Publisher.start(connection)
        claim = orjson.dumps({"kind": "claim", "task": 1, "attempt": 1, "worker": "forger"})
        report = subjects.report(job)
        for reply in (subjects.commit_subject("job", job, len(before) + 1), subjects.command(job), ""):
            connection.write(line(report.encode(), reply.encode(), b"", claim))
        answer = await publisher.request(report, claim)  # it is decided after the three
        assert orjson.loads(answer.data)["verdict"] == "refused"
        await publisher.stop()
    finally:
        await disconnect(connection)
    after = (await client.get(f"/v1/jobs/{job}/history")).json()
    assert after[: len(before)] == before
    assert {event["type"] for event in after[len(before) :]} == {"ReportIgnored"}
    health = await client.get("/v1/health/ready")
    assert health.status_code == 200, health.text
