"""State machines through the whole system: what each action comes to, and what survives new code."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from daybook import AsyncClient, Result, TaskContext, Worker
from daybook.errors import NotFound, PermanentError
from shared.broker.connection import connect, disconnect
from shared.broker.subjects import report
from tests.support.system import CLIENT_TOKEN, WORKER_TOKEN, System

pytestmark = pytest.mark.connected

ORDERS = (Path(__file__).parent / "orders.py").read_text()
GATE = """
import asyncio
from daybook import Blueprint

bp = Blueprint("gate")
opened = asyncio.Event()

@bp.handler(is_start=True, is_end=True)
async def only(initial_data):
    if initial_data["wait"]:
        await opened.wait()
    opened.set()
"""
VERSIONED = """
from daybook import Blueprint

bp = Blueprint("versioned")

@bp.handler(is_start=True)
async def start(actions):
    actions.await_human_approval("mail", "?", {"yes": "end"})

@bp.handler(is_end=True)
async def end():
    return {"code": "old"}
"""
QUARANTINE: Any = {
    "max_attempts": 4,
    "base_seconds": 0,
    "when_exhausted": "quarantine",
    "quarantine": ["permanent", "contract_violation"],
}


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    folder = tmp_path / "blueprints"
    folder.mkdir()
    (folder / "orders.py").write_text(ORDERS)
    (folder / "versioned.py").write_text(VERSIONED)
    (folder / "gate.py").write_text(GATE)
    system = System(tmp_path / "data", {"BLUEPRINTS_DIR": str(folder)})
    try:
        await system.start()
        yield system
        await system.stop()
    finally:
        system.destroy()


@asynccontextmanager
async def working(system: System) -> AsyncIterator[tuple[AsyncClient, asyncio.Queue[TaskContext]]]:
    """A worker that serves, a client, and the tasks that wait to be left."""
    worker = Worker(system.nats, WORKER_TOKEN, "shop")
    waiting: asyncio.Queue[TaskContext] = asyncio.Queue()

    @worker.skill("stock")
    async def stock(given: dict[str, Any]) -> Any:
        if given["item"] == "dragon":
            raise PermanentError("nobody sells dragons", code="PERMANENT_ERROR")
        return Result({"stock": 1}, port="low") if given["item"] == "tea" else {"stock": 100}

    @worker.skill("wrap")
    async def wrap(given: dict[str, Any]) -> dict[str, Any]:
        if given["paper"] == "none":
            raise PermanentError("no paper", code="PERMANENT_ERROR")
        return given

    @worker.skill("write")
    async def write(given: dict[str, Any]) -> None:
        raise PermanentError("no ink")

    @worker.skill("wait")
    async def wait(given: dict[str, Any], task: TaskContext) -> None:
        waiting.put_nowait(task)
        await asyncio.Event().wait()

    started = asyncio.Event()
    serving = asyncio.ensure_future(worker.serve(started))
    try:
        async with asyncio.timeout(90), AsyncClient(system.http, CLIENT_TOKEN) as client:
            await started.wait()
            for name in ("orders", "apology", "versioned"):
                await published(client, name)
            yield client, waiting
    finally:
        worker.stop()
        await serving


async def published(client: AsyncClient, name: str, version: int = 1) -> None:
    """Wait until a version of a blueprint can be submitted to."""
    while True:
        try:
            if (await client.workflow(name)).version >= version:
                return
        except NotFound:
            pass
        await asyncio.sleep(0.05)


async def until_waiting(client: AsyncClient, job: Any) -> None:
    async for event in client.watch(job):
        if event.type == "SignalAwaited":
            return


async def test_a_state_machine_goes_where_its_handlers_and_its_workers_say(system: System) -> None:
    async with working(system) as (client, waiting):
        submitted = await client.submit("orders", {"item": "tea", "gift": True}, retry=QUARANTINE)
        await until_waiting(client, submitted.job_id)
        await client.approve(submitted.job_id, "approved")
        job = await client.wait(submitted.job_id)
        assert job.status == "succeeded", job.error
        assert job.output == {
            "price": 3,
            "stock": 1,
            "answers": ["failure", "success"],
            "papers": ["red"],
        }
        history = await client.history(submitted.job_id)
        told = [event.data for event in history if event.type == "EventEmitted"]
        assert [(event["name"], event["payload"]) for event in told] == [("priced", {"price": 3})]

        plain = await client.run("orders", {"item": "rice"}, retry=QUARANTINE)
        assert plain.status == "quarantined"  # there is no price for it: its event breaks the schema
        assert plain.error is not None
        assert "state 'start'" in plain.error["message"]

        told_to = await client.submit("orders", {"item": "tea", "wait": True}, retry=QUARANTINE)
        await tell(system, await waiting.get(), "alarm", {"heat": 90})
        moved = await client.wait(told_to.job_id)
        assert (moved.status, moved.output) == ("succeeded", {"alarm": 90})

        broken = await client.run("orders", {"item": "tea", "boom": True}, retry=QUARANTINE)
        assert broken.status == "quarantined"
        assert broken.error is not None
        assert "the shelf broke" in broken.error["message"]
        types = [event.type for event in await client.history(broken.job_id)]
        assert types.count("HandlerFailed") == 4


async def tell(system: System, task: TaskContext, name: str, payload: Any) -> None:
    """Say as the worker that something happened."""
    connection = await connect(system.nats, name="test", user="daybook", password=system.nats_password)
    try:
        said = {"task": task.task, "attempt": task.attempt, "worker": task.worker}
        body = msgspec.json.encode({"kind": "event", **said, "name": name, "payload": payload, "id": "e1"})
        answer = await connection.request(report(task.job_id), body, timeout=30)
        assert msgspec.json.decode(answer.data) == {"verdict": "accepted"}
    finally:
        await disconnect(connection)


async def test_a_child_that_ends_badly_wakes_its_parent(system: System) -> None:
    async with working(system) as (client, _):
        job = await client.run("orders", {"item": "dragon"}, retry=QUARANTINE)
        history = await client.history(job.job_id)
    assert [event.type for event in history].count("ChildEnded") == 1
    assert job.status == "failed"
    ended = next(event.data for event in history if event.type == "ChildEnded")
    assert (ended["outcome"], ended["final_state"]) == ("quarantined", "begin")


async def test_new_code_is_for_new_jobs_and_old_jobs_keep_theirs(system: System, tmp_path: Path) -> None:
    async with working(system) as (client, _):
        old = await client.submit("versioned")
        await until_waiting(client, old.job_id)
        file = tmp_path / "blueprints" / "versioned.py"
        file.write_text(VERSIONED.replace('"old"', '"new"'))
        await published(client, "versioned", 2)
        new = await client.submit("versioned")
        await until_waiting(client, new.job_id)
        file.unlink()
        await client.approve(old.job_id, "yes")
        await client.approve(new.job_id, "yes")
        outputs = [(await client.wait(job.job_id)).output for job in (old, new)]
    assert outputs == [{"code": "old"}, {"code": "new"}]


async def test_a_job_whose_handler_waits_for_that_of_another_job_gets_it(system: System) -> None:
    async with working(system) as (client, _):
        await published(client, "gate")
        first = await client.submit("gate", {"wait": True})
        second = await client.run("gate", {"wait": False})
        assert second.status == "succeeded", second.error
        ended = await client.wait(first.job_id)
    assert ended.status == "succeeded", ended.error


async def test_what_is_published_tells_the_picture_and_the_endpoint(system: System) -> None:
    async with working(system) as (client, _):
        meta = (await client.workflow("orders")).raw["graph"]["meta"]
    assert (meta["api_version"], meta["api_endpoint"]) == ("v1", "jobs/orders")
    assert "\tstart -> pack\n" in meta["dot"]
    assert "\tstart -> alarmed\n" in meta["dot"]
