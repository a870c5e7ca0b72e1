"""The sweep of deadlines, with rows and a dispatcher in the hand of the test."""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest

from services.scheduler import sweep as sweeping
from services.scheduler.sweep import IN_FLIGHT, Sweep
from shared.application.commands import CommandAnswer, DispatcherSilent
from shared.broker.asking import NoDispatcher
from shared.readmodels.errors import ReadModelUnavailable
from shared.readmodels.queries import DueJob

NOW = 1_000_000


def job(number: int, due_at: int = NOW - 1) -> DueJob:
    return DueJob(UUID(int=number), due_at)


class Rows:
    """Jobs that are due until the test says otherwise."""

    def __init__(self, *jobs: DueJob) -> None:
        self.jobs = list(jobs)
        self.failure: Exception | None = None
        self.reads = 0

    async def due_jobs(self, now: int, limit: int = 100) -> list[DueJob]:
        self.reads += 1
        if self.failure is not None:
            raise self.failure
        return sorted((job for job in self.jobs if job.due_at <= now), key=lambda job: job.due_at)[:limit]


class Decider:
    """Remembers what it was asked; `failure` is what comes instead of an answer."""

    def __init__(self) -> None:
        self.asked: list[UUID] = []
        self.failure: Exception | None = None
        self.heard = asyncio.Event()
        self.at_once = 0
        self.most_at_once = 0
        self.gate: asyncio.Event | None = None

    async def ask(self, job: UUID, command: Mapping[str, Any]) -> CommandAnswer:
        assert command == {"command": "expire", "by": "system:scheduler"}
        self.asked.append(job)
        self.heard.set()
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.gate is not None:
                await self.gate.wait()
            if self.failure is not None:
                raise self.failure
        finally:
            self.at_once -= 1
        return CommandAnswer(ok=True, changed=True)


class Bench:
    """A sweep with its surroundings; `seconds` is the monotonic clock."""

    def __init__(self, *jobs: DueJob) -> None:
        self.rows, self.decider, self.seconds = Rows(*jobs), Decider(), 0.0
        self.sweep = Sweep(
            self.rows, self.decider, lambda: NOW, every_seconds=0.001, monotonic=lambda: self.seconds
        )

    def asked(self) -> list[int]:
        """The jobs asked about since the last look, by number."""
        found = [id_.int for id_ in self.decider.asked]
        self.decider.asked.clear()
        return found


async def test_every_due_job_is_looked_at_and_no_other() -> None:
    bench = Bench(job(1), job(2, NOW), job(3, NOW + 1))
    assert await bench.sweep.once() == 2
    assert sorted(bench.asked()) == [1, 2]


async def test_a_job_is_not_hammered_while_its_row_still_says_due() -> None:
    bench = Bench(job(1))
    await bench.sweep.once()
    await bench.sweep.once()
    assert bench.asked() == [1]
    waits = []
    for _ in range(8):
        begun = bench.seconds
        while not bench.asked():
            bench.seconds += 1
            await bench.sweep.once()
        waits.append(bench.seconds - begun)
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]


async def test_a_new_deadline_of_the_same_job_is_looked_at_at_once() -> None:
    bench = Bench(job(1, NOW - 9))
    await bench.sweep.once()
    bench.rows.jobs = [job(1, NOW - 5)]
    await bench.sweep.once()
    assert bench.asked() == [1, 1]


async def test_what_is_due_no_more_is_forgotten() -> None:
    bench = Bench(job(1))
    await bench.sweep.once()
    bench.rows.jobs = []
    await bench.sweep.once()
    bench.rows.jobs = [job(1)]
    await bench.sweep.once()
    assert bench.asked() == [1, 1]


async def test_jobs_that_stay_due_do_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "BATCH", 2)
    bench = Bench(*(job(number, NOW - 100 + number) for number in range(6)))
    for _ in range(3):
        await bench.sweep.once()
    assert bench.asked() == [0, 1, 2, 3, 4, 5]


async def test_no_more_commands_wait_at_one_time_than_the_limit() -> None:
    bench = Bench(*(job(number) for number in range(3 * IN_FLIGHT)))
    bench.decider.gate = asyncio.Event()
    running = asyncio.create_task(bench.sweep.once())
    await bench.decider.heard.wait()
    bench.decider.gate.set()
    assert await running == 3 * IN_FLIGHT
    assert bench.decider.most_at_once == IN_FLIGHT


async def test_a_job_without_an_answer_waits_and_the_others_do_not() -> None:
    bench = Bench(job(1))
    bench.decider.failure = DispatcherSilent("no answer")
    await bench.sweep.once()
    bench.decider.failure = None
    bench.rows.jobs.append(job(2))
    await bench.sweep.once()
    assert bench.asked() == [1, 2]
    bench.seconds += 2
    await bench.sweep.once()
    assert 1 in bench.asked()


async def test_without_any_dispatcher_a_sweep_ends_early_and_nothing_counts_as_sent() -> None:
    bench = Bench(*(job(number) for number in range(3 * IN_FLIGHT)))
    bench.decider.failure = NoDispatcher("nobody")
    with pytest.raises(NoDispatcher):
        await bench.sweep.once()
    assert len(bench.asked()) <= IN_FLIGHT
    bench.decider.failure = None
    assert await bench.sweep.once() == 3 * IN_FLIGHT


@pytest.mark.parametrize("absent", ["rows", "dispatcher"])
async def test_the_sweep_outlives_what_it_needs(absent: str, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(job(1))
    if absent == "rows":
        bench.rows.failure = ReadModelUnavailable("no store yet")
    else:
        bench.decider.failure = NoDispatcher("nobody")
    stopping = asyncio.Event()
    running = asyncio.create_task(bench.sweep.run(stopping))
    async with asyncio.timeout(30):
        while bench.rows.reads < 4:  # several sweeps: the trouble is told once
            await asyncio.sleep(0.001)
    bench.rows.failure = bench.decider.failure = None
    bench.decider.heard.clear()
    await asyncio.wait_for(bench.decider.heard.wait(), 30)
    stopping.set()
    await asyncio.wait_for(running, 30)
    assert [record.levelname for record in caplog.records].count("WARNING") == 1
