"""One at a time for each job."""

import asyncio
from uuid import UUID

from services.dispatcher.turns import Turns

ONE, OTHER = UUID(int=1), UUID(int=2)


async def test_those_of_one_job_follow_each_other_and_others_do_not_wait() -> None:
    turns, entered, leave = Turns(), [], asyncio.Event()

    async def handle(job: UUID, name: str) -> None:
        async with turns.of(job):
            entered.append(name)
            await leave.wait()

    tasks = [asyncio.create_task(handle(*asked)) for asked in ((ONE, "a"), (ONE, "b"), (OTHER, "c"))]
    for _ in range(5):
        await asyncio.sleep(0)
    assert entered == ["a", "c"]
    leave.set()
    await asyncio.gather(*tasks)
    assert entered == ["a", "c", "b"]
    assert len(turns) == 0


async def test_who_gives_up_waiting_leaves_nothing_behind() -> None:
    turns, leave = Turns(), asyncio.Event()

    async def handle() -> None:
        async with turns.of(ONE):
            await leave.wait()

    first, second = asyncio.create_task(handle()), asyncio.create_task(handle())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait({second})
    leave.set()
    await first
    assert len(turns) == 0
