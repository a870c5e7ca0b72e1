"""One system with one worker for all tests of this folder: they share it as clients do."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from tests.support.system import ROOT, WORKER_TOKEN, System

BLUEPRINTS = """
from daybook import Blueprint

order = Blueprint("order")


@order.state(start=True)
def check(input, actions):
    if input["n"] < 0:
        actions.go_to("refused", {"why": "negative"})
    else:
        actions.dispatch_task("add", {"n": input["n"]}, {"success": "spread", "failure": "refused"})


@order.state()
def spread(results, actions):
    actions.dispatch_parallel(
        [{"skill": "add", "input": {"n": n}} for n in range(3)], aggregate_into="gather"
    )


@order.state()
def gather(last, actions):
    actions.go_to("done", {"sum": sum(part["n"] for part in last.values())})


@order.state(end=True)
def done(last):
    return last


@order.state(end=True, outcome="failed")
def refused(last):
    return last


spin = Blueprint("spin")


@spin.state(start=True)
def forever(actions):
    while True:
        pass
"""


@pytest.fixture(scope="package")
def shared_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("dispatcher")
    blueprints = folder / "blueprints"
    blueprints.mkdir()
    (blueprints / "order.py").write_text(BLUEPRINTS)
    environment = {"DAYBOOK_HANDLER_TIME_LIMIT_SECONDS": "1"}
    system = System(folder / "data", environment, "--blueprints", str(blueprints))
    worker = None
    try:
        asyncio.run(system.start())
        worker = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.dispatcher.skills"],
            cwd=ROOT,
            env={**os.environ, "DAYBOOK_NATS_URL": system.nats, "DAYBOOK_WORKER_TOKEN": WORKER_TOKEN},
        )
        asyncio.run(_worker_is_there(system))
        yield system
        worker.terminate()
        assert worker.wait(20) == 0
        asyncio.run(system.stop())
    finally:
        if worker is not None:
            worker.kill()
            worker.wait()
        system.destroy()


async def _worker_is_there(system: System) -> None:
    async with system.client() as client:
        async with asyncio.timeout(60):
            while not (await client.get("/v1/workers")).json()["items"]:
                await asyncio.sleep(0.05)


@pytest.fixture
async def client(shared_system: System) -> AsyncIterator[httpx.AsyncClient]:
    async with shared_system.client(timeout=90) as client:
        yield client
