"""The wire is enough: sixty lines on a bare NATS client work for the whole system."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from daybook import AsyncClient
from tests.support.system import CLIENT_TOKEN, WORKER_TOKEN, System

WORKER = Path(__file__).with_name("worker.py")

pytestmark = pytest.mark.connected


@pytest.fixture
async def bare_worker(daybook_system: System) -> AsyncIterator[None]:
    """The worker in a process of its own, which sees nothing of this project but its file."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        str(WORKER),
        env={"NATS_URL": daybook_system.nats, "TOKEN": WORKER_TOKEN},
    )
    yield
    assert process.returncode is None, "the worker has ended"
    process.kill()
    await process.wait()


def test_the_worker_is_short_and_imports_nothing_of_daybook() -> None:
    source = WORKER.read_text()
    assert len(source.splitlines()) <= 60
    imported = [line.split()[1] for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert set(imported) == {"asyncio", "base64", "json", "os", "time", "uuid", "typing", "nats"}


async def test_a_bare_worker_runs_fresh_and_claimed_tasks(daybook_system: System, bare_worker: None) -> None:
    async with AsyncClient(daybook_system.http, CLIENT_TOKEN) as client:
        early = [await client.submit(skill="reverse", input={"text": f"early {n}"}) for n in range(3)]
        for number, submitted in enumerate(early):
            job = await client.wait(submitted.job_id, timeout=60)
            assert job.output == {"text": f"{number} ylrae"}
        fresh = await client.run(skill="reverse", input={"text": "fresh"}, timeout=60)
        wrong = await client.run(skill="reverse", input={}, timeout=60)
        workers = await client.workers()
    assert (fresh.status, fresh.output) == ("succeeded", {"text": "hserf"})
    assert (wrong.status, wrong.error and wrong.error["kind"]) == ("failed", "invalid_input")
    assert [(worker.name, worker.status) for worker in workers] == [("bare", "online")]


async def test_a_bare_worker_drops_a_task_that_was_cancelled_while_it_waited(daybook_system: System) -> None:
    async with AsyncClient(daybook_system.http, CLIENT_TOKEN) as client:
        waiting = await client.submit(skill="reverse", input={"text": "never"})
        await client.cancel(waiting.job_id)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", str(WORKER), env={"NATS_URL": daybook_system.nats, "TOKEN": WORKER_TOKEN}
        )
        try:
            after = await client.run(skill="reverse", input={"text": "after"}, timeout=60)
        finally:
            process.kill()
            await process.wait()
        assert after.output == {"text": "retfa"}
        events = [event.type for event in await client.history(waiting.job_id)]
    assert "TaskSucceeded" not in events
    assert events[-1] == "JobCancelled"
