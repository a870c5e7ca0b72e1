"""Skills in processes: they answer like any other, and can be stopped by force."""

import asyncio
import os
from contextlib import suppress
from typing import Any

import psutil  # type: ignore[import-untyped]  # it has no types
import pytest

from tests.contract.worker import program
from tests.contract.worker.conftest import serving, worker_of
from tests.contract.worker.fake_dispatcher import FakeDispatcher, Report, Verdict

pytestmark = [pytest.mark.connected, pytest.mark.usefixtures("every_task_is_fresh")]


async def crunched(dispatcher: FakeDispatcher, *given: dict[str, Any]) -> list[Report]:
    worker = worker_of(dispatcher.server, concurrency=1)
    worker.add("crunch", program.crunch, executor="process")
    async with serving(worker):
        for number, item in enumerate(given, 1):
            await dispatcher.release("crunch", item)
            await dispatcher.results(number)
        await dispatcher.all_acked("crunch")
    return await dispatcher.results(len(given))


async def test_a_process_is_used_again_for_the_next_task(dispatcher: FakeDispatcher) -> None:
    first, second = await crunched(dispatcher, {"n": 2}, {"n": 3})
    assert (first["output"]["square"], second["output"]["square"]) == (4, 9)
    assert first["output"]["pid"] == second["output"]["pid"] != os.getpid()
    assert first["output"]["job"] == first["job"]
    assert not psutil.pid_exists(first["output"]["pid"])


async def test_what_is_raised_in_a_process_is_reported_as_it_was(dispatcher: FakeDispatcher) -> None:
    raised, odd = await crunched(dispatcher, {"n": 2, "how": "raise"}, {"n": 2, "how": "odd"})
    assert raised["error"] == {
        "kind": "invalid_input",
        "code": "told",
        "message": "told to",
        "details": {"n": 2},
    }
    assert (odd["error"]["kind"], odd["error"]["code"]) == ("contract_violation", "output_not_json")


async def test_a_process_that_dies_fails_its_task_and_the_next_gets_a_new_one(
    dispatcher: FakeDispatcher,
) -> None:
    died, after = await crunched(dispatcher, {"n": 2, "how": "die"}, {"n": 3})
    assert (died["error"]["kind"], died["error"]["code"]) == ("transient", "process_died")
    assert "status 7" in died["error"]["message"]
    assert after["output"]["square"] == 9


async def test_a_coroutine_may_run_in_a_process(dispatcher: FakeDispatcher) -> None:
    worker = worker_of(dispatcher.server)
    worker.add("later", program.later, executor="process")
    async with serving(worker):
        await dispatcher.release("later", {"n": 4})
        (result,) = await dispatcher.results(1)
    assert result["output"] == 5


async def test_a_process_is_killed_when_its_task_is_cancelled(dispatcher: FakeDispatcher) -> None:
    worker = worker_of(dispatcher.server, concurrency=1)
    worker.add("crunch", program.crunch, executor="process")

    def verdict(report: Report) -> Verdict:
        if report["kind"] == "claim":
            return {"verdict": "granted", "lease_seconds": 60}
        return {"verdict": "accepted"}

    dispatcher.verdict_of = verdict
    async with serving(worker):
        job = await dispatcher.release("crunch", {"n": 2, "how": "sleep"})
        await dispatcher.until(lambda: bool(dispatcher.of_kind("progress")))
        before = _children()
        await dispatcher.control("w1", cancel={"job": str(job), "task": 1, "attempt": 1})
        await dispatcher.all_acked("crunch")
        await dispatcher.release("crunch", {"n": 3})
        (result,) = await dispatcher.results(1)
    assert result["output"]["square"] == 9
    assert result["output"]["pid"] not in before
    assert not [pid for pid in before if psutil.pid_exists(pid)]


async def test_a_process_that_is_too_slow_is_killed(dispatcher: FakeDispatcher) -> None:
    worker = worker_of(dispatcher.server, concurrency=1)
    worker.add("crunch", program.crunch, executor="process")
    async with serving(worker):
        await dispatcher.release("crunch", {"n": 2, "how": "sleep"}, run_timeout=1.0)
        (result,) = await dispatcher.results(1)
    assert result["error"]["kind"] == "timeout"
    assert _children() == []


async def test_a_killed_worker_leaves_no_process_behind(dispatcher: FakeDispatcher) -> None:
    worker = await asyncio.create_subprocess_exec(
        *program.command(),
        env={
            "DAYBOOK_NATS_URL": dispatcher.server.url,
            "DAYBOOK_WORKER_TOKEN": dispatcher.server.worker_token,
        },
    )
    await dispatcher.release_when_known("crunch", {"n": 2, "how": "sleep"})
    await dispatcher.until(lambda: bool(dispatcher.of_kind("progress")))
    children = psutil.Process(worker.pid).children(recursive=True)
    worker.kill()
    await worker.wait()
    assert children
    _, alive = await asyncio.to_thread(psutil.wait_procs, children, timeout=10)
    assert not alive


def _children() -> list[int]:
    """Processes of skills that this process has now, without those that wait to be reaped."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # a zombie has no command line
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child.pid)
    return found
