"""Hundreds of polls that are held at once."""

import asyncio
import time

import pytest

from tests.contract.avtomatika.worker.world import HttpWorker, World
from tests.support.system import WORKER_TOKEN

pytestmark = pytest.mark.connected

WORKERS, EACH, JOBS = 20, 25, 5
HELD_SECONDS = 8.0


async def test_held_polls_are_answered_at_once_when_work_comes_and_with_nothing_at_their_time(
    world: World,
) -> None:
    skill = world.named("rare")
    workers = [world.worker(f"idle-{number}") for number in range(WORKERS)]
    for worker in workers:
        await worker.register(skill)
    begun = time.monotonic()
    polls = [asyncio.create_task(_poll(world, worker)) for worker in workers for _ in range(EACH)]
    jobs = [await world.submit(skill) for _ in range(JOBS)]
    answers = await asyncio.gather(*polls)
    served = [at for status, at in answers if status == 200]
    empty = [at for status, at in answers if status == 204]
    assert (len(served), len(empty)) == (JOBS, WORKERS * EACH - JOBS)
    assert max(served) < min(empty), "work is handed out when it comes, not when a poll ends"
    assert min(empty) - begun >= HELD_SECONDS
    for job in jobs:
        await world.cancel(job)


async def _poll(world: World, worker: HttpWorker) -> tuple[int, float]:
    """The status of a poll, and when it was answered. Bare, so that hundreds cost the test nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.system.http_port)
    path = f"/_worker/workers/{worker.name}/tasks/next?timeout={HELD_SECONDS}"
    head = [f"GET {path} HTTP/1.1", "host: x", f"x-worker-token: {WORKER_TOKEN}", "", ""]
    writer.write("\r\n".join(head).encode())
    status = int((await reader.readline()).split()[1])
    at = time.monotonic()
    writer.close()
    return status, at
