"""Workflows in Python, through the whole system: a folder of blueprints, a worker, and jobs."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from daybook import AsyncClient, Worker
from daybook.errors import NotFound, PermanentError
from tests.support.system import CLIENT_TOKEN, WORKER_TOKEN, System

pytestmark = pytest.mark.connected

CODE = '''
from daybook import Blueprint

bp = Blueprint("order")

@bp.state(start=True)
def check(input, actions):
    if input.get("loop"):
        while True:
            pass
    actions.update_context(item=input["item"])
    actions.dispatch_task("price", {"item": input["item"]}, {"success": "decide", "failure": "failed"})

@bp.state
def decide(last, actions):
    if last["price"] > 100:
        actions.await_human_approval({"yes": "pack", "no": "failed"}, message="It is dear")
    else:
        actions.go_to("pack")

@bp.state
def pack(item, actions):
    parts = ("box", "label")
    tasks = [{"skill": "pack", "name": part, "input": {"item": item, "part": part}} for part in parts]
    actions.dispatch_parallel(tasks, aggregate_into="finished")

@bp.state(end=True)
def finished(last, item):
    return {"item": item, "packed": last}

@bp.state(end=True)
def failed(last):
    """The job fails here."""
'''


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    folder = tmp_path / "blueprints"
    folder.mkdir()
    (folder / "order.py").write_text(CODE)
    (folder / "broken.py").write_text("import nothing_of_that_name")
    environment = {"DAYBOOK_HANDLER_TIME_LIMIT_SECONDS": "2"}
    system = System(tmp_path / "data", environment, "--blueprints", str(folder))
    try:
        await system.start()
        yield system
        await system.stop()
    finally:
        system.destroy()


@asynccontextmanager
async def working(system: System) -> AsyncIterator[AsyncClient]:
    """A worker that serves on its own thread, and a client."""
    worker = Worker(system.nats, WORKER_TOKEN, "packer")

    @worker.skill("price")
    async def price(given: dict[str, Any]) -> dict[str, Any]:
        if given["item"] == "dragon":
            raise PermanentError("nobody sells dragons")
        return {"price": len(given["item"]) * 20}

    @worker.skill("pack")
    def pack(given: dict[str, Any]) -> str:
        return f"{given['part']} for {given['item']} in {threading.current_thread().name.split('-')[0]}"

    started = asyncio.Event()
    serving = asyncio.ensure_future(worker.serve(started))
    try:
        async with asyncio.timeout(120), AsyncClient(system.http, CLIENT_TOKEN) as client:
            await started.wait()
            await published(client, "order")
            yield client
    finally:
        worker.stop()
        await serving


async def published(client: AsyncClient, name: str) -> None:
    """Wait until a blueprint can be submitted to."""
    while True:
        try:
            await client.workflow(name)
        except NotFound:
            await asyncio.sleep(0.05)
        else:
            return


async def test_a_blueprint_runs_from_its_folder_with_workers_and_people(system: System) -> None:
    async with working(system) as client:
        cheap = await client.run("order", {"item": "tea"})
        assert cheap.status == "succeeded"
        assert cheap.output["item"] == "tea"
        assert cheap.output["packed"] == {
            "box": "box for tea in daybook",
            "label": "label for tea in daybook",
        }

        dear = await client.submit("order", {"item": "chocolate"})
        async for event in client.watch(dear.job_id):
            if event.type == "SignalAwaited":
                await client.approve(dear.job_id, "yes")
        assert (await client.wait(dear.job_id)).output["item"] == "chocolate"

        dragon = await client.run("order", {"item": "dragon"})
        assert dragon.status == "failed"

        types = [event.type for event in await client.history(cheap.job_id)]
        assert types.count("HandlerDecided") == 4


async def test_a_handler_that_never_ends_times_out_its_job_and_no_other(system: System) -> None:
    async with working(system) as client:
        stuck = await client.submit("order", {"item": "tea", "loop": True}, retry={"max_attempts": 1})
        assert (await client.run("order", {"item": "tea"})).succeeded
        job = await client.wait(stuck.job_id)
    assert job.status == "timed_out"
    assert job.error is not None
    assert (job.error["kind"], job.error["code"]) == ("timeout", "handler_timeout")
    assert "blueprint 'order', state 'check'" in job.error["message"]
