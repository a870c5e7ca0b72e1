"""The example, as a stranger runs it: a system, a worker process, a job."""

import asyncio
import sys

import pytest

from daybook import AsyncClient
from examples.text_report import GRAPH, INPUT, WORKFLOW
from tests.support.system import CLIENT_TOKEN, ROOT, WORKER_TOKEN, System

pytestmark = pytest.mark.connected


async def test_the_example_reports_on_the_fables(daybook_system: System) -> None:
    environment = {"DAYBOOK_NATS_URL": daybook_system.nats, "DAYBOOK_WORKER_TOKEN": WORKER_TOKEN}
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "examples.text_report", cwd=ROOT, env=environment
    )
    try:
        async with AsyncClient(daybook_system.http, CLIENT_TOKEN) as client:
            published = await client.publish_workflow(WORKFLOW, GRAPH)
            again = await client.publish_workflow(WORKFLOW, GRAPH)
            job = await client.run(WORKFLOW, INPUT, timeout=60)
            released = [e.data["skill"] for e in await client.history(job.job_id) if e.type == "TaskReleased"]
        worker.terminate()
        async with asyncio.timeout(40):
            assert await worker.wait() == 0
    finally:
        if worker.returncode is None:
            worker.kill()
            await worker.wait()
    assert (published.version, again.version) == (1, 1)
    assert job.succeeded
    assert job.output["report"].startswith("# Four fables")
    assert released == ["split_text", *["study_chapter"] * 4, "write_report"]
