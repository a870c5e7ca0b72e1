"""When a worker claims first, what a claim's answer means, and how long work is kept alive."""

import asyncio
import threading
from typing import Any

import pytest

from daybook import TaskContext, Worker
from daybook.worker import runner
from tests.contract.worker.conftest import serving, worker_of
from tests.contract.worker.fake_dispatcher import FakeDispatcher, Report, Verdict, accept

pytestmark = [pytest.mark.connected, pytest.mark.usefixtures("every_task_is_fresh")]


class Waiter:
    """A skill that waits to be let go, and remembers whether it was cancelled."""

    def __init__(self, worker: Worker) -> None:
        self.runs = 0
        self.let_go = asyncio.Event()
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()
        worker.add("wait", self.run)

    async def run(self, given: Any, task: TaskContext) -> str:
        self.runs += 1
        self.started.set()
        try:
            task.progress(0.25, "a quarter")
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return "done"


async def test_a_task_released_before_the_worker_came_is_claimed_first(
    dispatcher: FakeDispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "FRESH_US", 100_000)
    worker = worker_of(dispatcher.server)
    waiter = Waiter(worker)
    waiter.let_go.set()
    await dispatcher.declare("wait")
    await dispatcher.release("wait")
    await asyncio.sleep(0.3)  # older than a fresh task may be
    async with serving(worker):
        await dispatcher.results(1)
    assert [report["kind"] for report in dispatcher.reports] == ["claim", "result"]


async def test_a_task_that_says_so_is_claimed_first(dispatcher: FakeDispatcher) -> None:
    worker = worker_of(dispatcher.server)
    waiter = Waiter(worker)
    waiter.let_go.set()
    async with serving(worker):
        await dispatcher.release("wait", claim=True)
        await dispatcher.results(1)
    assert [report["kind"] for report in dispatcher.reports] == ["claim", "result"]


async def test_a_refused_task_is_acked_and_never_run(dispatcher: FakeDispatcher) -> None:
    worker = worker_of(dispatcher.server)
    waiter = Waiter(worker)
    dispatcher.verdict_of = lambda report: {"verdict": "refused", "reason": "cancelled"}
    async with serving(worker):
        await dispatcher.release("wait", claim=True)
        await dispatcher.until(lambda: bool(dispatcher.answered))
        await dispatcher.all_acked("wait")
    assert waiter.runs == 0
    assert dispatcher.of_kind("result") == []


UNDECIDED: list[dict[str, Any]] = [
    {"error": "the journal is away"},
    {"verdict": "refused", "reason": "unknown_job"},
    {"verdict": "a word of another version"},
]


@pytest.mark.parametrize("undecided", UNDECIDED)
async def test_a_claim_that_could_not_be_decided_is_asked_again(
    dispatcher: FakeDispatcher, undecided: dict[str, Any]
) -> None:
    worker = worker_of(dispatcher.server)
    waiter = Waiter(worker)
    waiter.let_go.set()
    answers: list[Verdict] = [undecided, undecided]

    def verdict(report: Report) -> Verdict:
        return answers.pop() if report["kind"] == "claim" and answers else accept(report)

    dispatcher.verdict_of = verdict
    async with serving(worker):
        await dispatcher.release("wait", claim=True)
        await dispatcher.results(1)
        await dispatcher.all_acked("wait")
    assert waiter.runs == 1
    assert [report["kind"] for report in dispatcher.reports] == ["claim", "claim", "claim", "result"]


@pytest.mark.parametrize("undecided", UNDECIDED)
async def test_a_renewal_that_could_not_be_decided_stops_nothing(
    dispatcher: FakeDispatcher, undecided: dict[str, Any]
) -> None:
    def verdict(report: Report) -> Verdict:
        return undecided if report["kind"] == "renew" else lease_of(2.0)(report)

    dispatcher.verdict_of = verdict
    worker = worker_of(dispatcher.server)
    waiter = Waiter(worker)
    async with serving(worker):
        await dispatcher.release("wait")
        await dispatcher.until(lambda: any(report["kind"] == "renew" for report in dispatcher.answered))
        waiter.let_go.set()
        await dispatcher.results(1)
    assert not waiter.cancelled.is_set()


@pytest.mark.parametrize("undecided", UNDECIDED)
async def test_a_result_that_could_not_be_decided_is_reported_again(
    dispatcher: FakeDispatcher, undecided: dict[str, Any]
) -> None:
    answers: list[Verdict] = [undecided]

    def verdict(report: Report) -> Verdict:
        return answers.pop() if report["kind"] == "result" and answers else accept(report)

    dispatcher.verdict_of = verdict
    worker = worker_of(dispatcher.server)
    waiter = Waiter(worker)
    waiter.let_go.set()
    async with serving(worker):
        await dispatcher.release("wait")
        first, second = await dispatcher.results(2)
        await dispatcher.all_acked("wait")
    assert first == second
    assert first["outcome"] == "succeeded"
    assert waiter.runs == 1


async def test_a_result_that_is_never_decided_leaves_the_task_in_its_queue(
    dispatcher: FakeDispatcher,
) -> None:
    unknown: Verdict = {"verdict": "ignored", "reason": "unknown_job"}
    dispatcher.verdict_of = lambda report: unknown if report["kind"] == "result" else accept(report)
    worker = worker_of(dispatcher.server)
    waiter = Waiter(worker)
    waiter.let_go.set()
    async with serving(worker):
        await dispatcher.release("wait")
        await dispatcher.results(3)
    assert await dispatcher.pending("wait") == 1


async def test_a_task_given_back_comes_again_and_is_claimed(dispatcher: FakeDispatcher) -> None:
    first = worker_of(dispatcher.server, drain_seconds=0.1)
    waiting = Waiter(first)
    async with serving(first):
        await dispatcher.release("wait")
        await asyncio.wait_for(waiting.started.wait(), 30)
    assert waiting.cancelled.is_set()
    assert dispatcher.of_kind("result") == []
    second = worker_of(dispatcher.server)
    waiter = Waiter(second)
    waiter.let_go.set()
    async with serving(second):
        await dispatcher.results(1)
    assert [report["kind"] for report in dispatcher.reports] == ["claim", "result"]


async def test_a_long_task_is_claimed_kept_and_shows_progress(dispatcher: FakeDispatcher) -> None:
    dispatcher.ack_wait_seconds = 2.5
    dispatcher.verdict_of = lease_of(2.0)
    worker = worker_of(dispatcher.server)
    waiter = Waiter(worker)
    async with serving(worker):
        await dispatcher.release("wait")
        await dispatcher.until(lambda: len(dispatcher.of_kind("renew")) >= 3)
        waiter.let_go.set()
        await dispatcher.results(1)
        await dispatcher.all_acked("wait")
    assert waiter.runs == 1
    assert await dispatcher.deliveries("wait") == 1  # though the broker's ack wait has passed
    assert len(dispatcher.of_kind("claim")) == 1
    (progress,) = dispatcher.of_kind("progress")
    assert (progress["progress"], progress["message"]) == (0.25, "a quarter")


@pytest.mark.parametrize("kind", ["claim", "renew", "progress"])
async def test_a_task_that_is_not_ours_any_more_is_stopped(dispatcher: FakeDispatcher, kind: str) -> None:
    no = {"claim": "refused"}.get(kind, "ignored")

    def verdict(report: Report) -> Verdict:
        return {"verdict": no, "reason": "foreign"} if report["kind"] == kind else lease_of(0.5)(report)

    dispatcher.verdict_of = verdict
    worker = worker_of(dispatcher.server)
    waiter = Waiter(worker)
    async with serving(worker):
        await dispatcher.release("wait")
        await asyncio.wait_for(waiter.cancelled.wait(), 30)
        await dispatcher.all_acked("wait")
    assert dispatcher.of_kind("result") == []


async def test_a_cancelled_task_is_stopped_and_not_reported(dispatcher: FakeDispatcher) -> None:
    worker = worker_of(dispatcher.server)
    waiter = Waiter(worker)
    async with serving(worker):
        job = await dispatcher.release("wait")
        await asyncio.wait_for(waiter.started.wait(), 30)
        await dispatcher.control("w1", cancel={"job": str(job), "task": 1, "attempt": 2})
        await dispatcher.control("w1", cancel={"job": str(job), "task": 1, "attempt": 1})
        await asyncio.wait_for(waiter.cancelled.wait(), 30)
        await dispatcher.all_acked("wait")
    assert dispatcher.of_kind("result") == []


async def test_a_cancelled_task_that_waits_for_its_claim_is_never_run(dispatcher: FakeDispatcher) -> None:
    dispatcher.deaf = True
    worker = worker_of(dispatcher.server)
    waiter = Waiter(worker)
    async with serving(worker):
        job = await dispatcher.release("wait", claim=True)
        await dispatcher.until(lambda: bool(dispatcher.of_kind("claim")))
        await dispatcher.control("w1", cancel={"job": str(job), "task": 1, "attempt": 1})
        await dispatcher.all_acked("wait")
    assert waiter.runs == 0


async def test_a_thread_is_told_that_its_task_is_cancelled(dispatcher: FakeDispatcher) -> None:
    worker = worker_of(dispatcher.server)
    started, told = threading.Event(), threading.Event()

    @worker.skill("wait")
    def wait(given: Any, task: TaskContext) -> None:
        started.set()
        if task.cancelled.wait(60):
            told.set()

    async with serving(worker):
        job = await dispatcher.release("wait")
        assert await asyncio.to_thread(started.wait, 30)
        await dispatcher.control("w1", cancel={"job": str(job), "task": 1, "attempt": 1})
        assert await asyncio.to_thread(told.wait, 30)
        await dispatcher.all_acked("wait")
    assert dispatcher.of_kind("result") == []


async def test_a_drained_task_that_was_claimed_is_given_up_in_words(dispatcher: FakeDispatcher) -> None:
    worker = worker_of(dispatcher.server, drain_seconds=0.1)
    waiter = Waiter(worker)
    async with serving(worker):
        await dispatcher.release("wait", claim=True)
        await asyncio.wait_for(waiter.started.wait(), 30)
    (result,) = dispatcher.of_kind("result")
    assert (result["error"]["kind"], result["error"]["code"]) == ("transient", "worker_stopped")
    await dispatcher.all_acked("wait")


def lease_of(seconds: float) -> Any:
    def verdict(report: Report) -> Verdict:
        if report["kind"] == "claim":
            return {"verdict": "granted", "lease_seconds": seconds}
        return accept(report)

    return verdict
