"""A dispatcher of the tests, and workers that serve while the test runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from daybook import Worker
from daybook.worker import runner
from tests.contract.worker.fake_dispatcher import FakeDispatcher
from tests.support.nats import NatsServer


@pytest.fixture
async def dispatcher(nats_server: NatsServer) -> FakeDispatcher:
    return await FakeDispatcher.open(nats_server)


@pytest.fixture
def every_task_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a task is claimed first must not depend on how fast the machine delivers it."""
    monkeypatch.setattr(runner, "FRESH_US", 3_600_000_000)


@asynccontextmanager
async def serving(worker: Worker) -> AsyncIterator[Worker]:
    """Serve a worker; it has said hello when the block begins and has drained when it is left."""
    started = asyncio.Event()
    task = asyncio.ensure_future(worker.serve(started))
    waiting = asyncio.ensure_future(started.wait())
    try:
        async with asyncio.timeout(60):
            await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            yield worker
            worker.stop()
            await task
    finally:
        waiting.cancel()
        task.cancel()
        await asyncio.gather(task, waiting, return_exceptions=True)


def worker_of(server: NatsServer, concurrency: int = 10, *, drain_seconds: float = 30.0) -> Worker:
    """A worker called w1, with no skills yet."""
    return Worker(server.url, server.worker_token, "w1", concurrency, drain_seconds=drain_seconds)
