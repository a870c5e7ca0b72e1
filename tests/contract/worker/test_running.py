"""Tasks in, results out: the worker against a real server and a dispatcher of the test."""

import asyncio
import threading
import time
from typing import Any

import pytest

from daybook import Result, TaskContext
from daybook.errors import InvalidInput, PermanentError, TransientError
from shared.telemetry.ids import traceparent_of
from tests.contract.worker.conftest import serving, worker_of
from tests.contract.worker.fake_dispatcher import FakeDispatcher

pytestmark = [pytest.mark.connected, pytest.mark.usefixtures("every_task_is_fresh")]


async def test_a_task_is_run_and_its_output_reported_and_acked(dispatcher: FakeDispatcher) -> None:
    worker = worker_of(dispatcher.server)

    @worker.skill("double")
    async def double(given: dict[str, Any]) -> dict[str, Any]:
        return {"x": given["x"] * 2}

    async with serving(worker):
        job = await dispatcher.release("double", {"x": 21})
        (result,) = await dispatcher.results(1)
        await dispatcher.all_acked("double")
    assert result["job"] == str(job)
    assert result["worker"] == "w1"
    assert (result["task"], result["attempt"]) == (1, 1)
    assert (result["outcome"], result["output"]) == ("succeeded", {"x": 42})
    assert dispatcher.of_kind("claim") == []


async def test_a_plain_function_runs_in_a_thread(dispatcher: FakeDispatcher) -> None:
    worker = worker_of(dispatcher.server)

    @worker.skill("where")
    def where(given: Any) -> str:
        return threading.current_thread().name

    async with serving(worker):
        await dispatcher.release("where")
        (result,) = await dispatcher.results(1)
    assert result["output"].startswith("daybook-skill")


async def test_a_skill_that_asks_for_it_gets_the_tasks_context(dispatcher: FakeDispatcher) -> None:
    worker = worker_of(dispatcher.server)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    @worker.skill("tell")
    async def tell(given: Any, task: TaskContext) -> dict[str, Any]:
        task.log.info("hello")
        return {
            "job": str(task.job_id),
            "task": [task.task, task.attempt, task.skill, task.worker],
            "trace": task.traceparent,
            "workflow": task.release["workflow"],
            "metadata": task.metadata,
        }

    async with serving(worker):
        told: dict[str, Any] = {"workflow": "report", "metadata": {"order": 7}}
        job = await dispatcher.release("tell", task=3, attempt=2, trace=trace, **told)
        (result,) = await dispatcher.results(1)
    assert result["output"] == {
        "job": str(job),
        "task": [3, 2, "tell", "w1"],
        "trace": traceparent_of(job, trace, 4),
        "workflow": "report",
        "metadata": {"order": 7},
    }


@pytest.mark.parametrize(
    ("raised", "kind", "code"),
    [
        (TransientError("busy", code="busy", details={"after": 3}), "transient", "busy"),
        (PermanentError("never"), "permanent", None),
        (InvalidInput("no url"), "invalid_input", None),
        (ZeroDivisionError("by zero"), "transient", "ZeroDivisionError"),
        (SystemExit(3), "transient", "SystemExit"),
        (StopIteration(), "transient", "RuntimeError"),
    ],
)
@pytest.mark.parametrize("executor", ["async", "thread"])
async def test_what_a_skill_raises_decides_the_kind_of_failure(
    dispatcher: FakeDispatcher, raised: BaseException, kind: str, code: str | None, executor: Any
) -> None:
    worker = worker_of(dispatcher.server)

    def fail(given: Any) -> None:
        raise raised

    async def fail_later(given: Any) -> None:
        raise raised

    worker.add("fail", fail if executor == "thread" else fail_later, executor=executor)
    async with serving(worker):
        await dispatcher.release("fail")
        (result,) = await dispatcher.results(1)
        await dispatcher.all_acked("fail")
    assert result["outcome"] == "failed"
    assert (result["error"]["kind"], result["error"].get("code")) == (kind, code)


async def test_a_skill_may_leave_by_a_port_of_its_own(dispatcher: FakeDispatcher) -> None:
    worker = worker_of(dispatcher.server)

    @worker.skill("judge", executor="async")
    def judge(given: Any) -> Result:
        return Result({"why": "too small"}, port="rejected")

    async with serving(worker):
        await dispatcher.release("judge")
        (result,) = await dispatcher.results(1)
    assert (result["port"], result["output"]) == ("rejected", {"why": "too small"})


async def test_output_that_is_not_json_is_a_contract_violation(dispatcher: FakeDispatcher) -> None:
    worker = worker_of(dispatcher.server)

    @worker.skill("odd")
    async def odd(given: Any) -> Any:
        return {"it": object()}

    async with serving(worker):
        await dispatcher.release("odd")
        (result,) = await dispatcher.results(1)
    assert (result["error"]["kind"], result["error"]["code"]) == ("contract_violation", "output_not_json")


async def test_output_larger_than_the_broker_takes_is_a_contract_violation(
    dispatcher: FakeDispatcher,
) -> None:
    worker = worker_of(dispatcher.server)

    @worker.skill("big")
    async def big(given: Any) -> str:
        return "x" * (9 * 1024 * 1024)

    async with serving(worker):
        await dispatcher.release("big")
        (result,) = await dispatcher.results(1)
        await dispatcher.all_acked("big")
    assert (result["error"]["kind"], result["error"]["code"]) == ("contract_violation", "output_too_large")


async def test_no_more_tasks_run_at_once_than_the_concurrency(dispatcher: FakeDispatcher) -> None:
    worker = worker_of(dispatcher.server, concurrency=3)
    running = most = 0
    release = asyncio.Event()

    @worker.skill("hold")
    async def hold(given: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await release.wait()
        running -= 1

    async with serving(worker):
        for _ in range(8):
            await dispatcher.release("hold")
        await dispatcher.until(lambda: any(beat["running"] == 3 for beat in dispatcher.beats))
        release.set()
        await dispatcher.results(8)
    assert most == 3


async def test_slots_are_shared_by_all_skills_and_none_is_starved(dispatcher: FakeDispatcher) -> None:
    worker = worker_of(dispatcher.server, concurrency=2)
    running = most = 0

    async def work(given: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1

    for name in ("a", "b", "c"):
        worker.add(name, work)
    async with serving(worker):
        for number in range(60):
            await dispatcher.release("abc"[number % 3])
        await dispatcher.results(60)
        for name in ("a", "b", "c"):
            await dispatcher.all_acked(name)
    assert most == 2


async def test_a_thousand_tasks_are_each_run_once(dispatcher: FakeDispatcher) -> None:
    worker = worker_of(dispatcher.server, concurrency=64)
    seen: list[int] = []

    @worker.skill("count")
    async def count(given: dict[str, int]) -> None:
        seen.append(given["n"])

    async with serving(worker):
        await asyncio.gather(*(dispatcher.release("count", {"n": n}) for n in range(1000)))
        await dispatcher.results(1000)
        await dispatcher.all_acked("count")
    assert sorted(seen) == list(range(1000))


async def test_a_skill_that_runs_too_long_fails_with_a_timeout(dispatcher: FakeDispatcher) -> None:
    worker = worker_of(dispatcher.server)

    @worker.skill("slow", timeout=0.05)
    async def slow(given: Any) -> None:
        await asyncio.Event().wait()

    async with serving(worker):
        await dispatcher.release("slow")
        (result,) = await dispatcher.results(1)
    assert (result["error"]["kind"], result["error"]["code"]) == ("timeout", "run_timeout")


async def test_the_tasks_own_time_limit_holds_when_it_is_shorter(dispatcher: FakeDispatcher) -> None:
    worker = worker_of(dispatcher.server)

    @worker.skill("slow", timeout=60)
    async def slow(given: Any) -> None:
        await asyncio.Event().wait()

    async with serving(worker):
        await dispatcher.release("slow", run_timeout=0.05)
        (result,) = await dispatcher.results(1)
    assert result["error"]["message"] == "it ran longer than 0.05 s"


async def test_a_thread_that_outlives_its_time_limit_keeps_its_slot_until_it_ends(
    dispatcher: FakeDispatcher,
) -> None:
    worker = worker_of(dispatcher.server, concurrency=1)
    may_end = threading.Event()
    told = threading.Event()
    runs = 0

    @worker.skill("stuck", timeout=0.05)
    def stuck(given: Any, task: TaskContext) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            task.cancelled.wait(60)
            told.set()
            may_end.wait(60)

    async with serving(worker):
        await dispatcher.release("stuck")
        await dispatcher.results(1)
        assert told.wait(30)
        await dispatcher.release("stuck")
        beats = len(dispatcher.beats)
        await dispatcher.until(lambda: len(dispatcher.beats) >= beats + 3)
        assert runs == 1
        assert dispatcher.beats[-1]["running"] == 1
        may_end.set()
        await dispatcher.results(2)
    assert runs == 2


async def test_started_at_is_when_the_skill_was_called(dispatcher: FakeDispatcher) -> None:
    worker = worker_of(dispatcher.server)
    called: list[int] = []

    @worker.skill("when")
    async def when(given: Any) -> None:
        called.append(time.time_ns() // 1000)

    async with serving(worker):
        released = time.time_ns() // 1000
        await dispatcher.release("when")
        (result,) = await dispatcher.results(1)
    assert released <= result["started_at"] <= called[0]
