"""With one protection switched off, the rules must find what goes wrong; with all on, they must not.

Each control runs twice on the same events: the second run shows that the switch, and nothing else, is what
the rule found.
"""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from shared.process import PARENT_PIPE
from tests.faults import reading, rows
from tests.faults.checks import read_model_equals_a_rebuild
from tests.faults.evidence import Evidence
from tests.faults.injections import injected
from tests.faults.reading import JournalReader
from tests.faults.scene import Scene, report, rules, scene
from tests.support.system import ROOT

pytestmark = [pytest.mark.connected, pytest.mark.slow]


@pytest.mark.parametrize("names", [["results_are_always_news"], []], ids=["off", "on"])
async def test_without_the_idempotent_decision_a_repeated_report_ends_a_job_twice(
    tmp_path: Path, names: list[str]
) -> None:
    async with scene(tmp_path, injected(*names)) as here:
        here.worker()
        job = await here.submit(skill="add", input={"x": 1})
        await here.ended(job)
        result = {"task": 1, "attempt": 1, "worker": "w1", "outcome": "succeeded", "output": {"x": 2}}
        await report(here.system, job, kind="result", **result)
        found = rules(await here.violations())
    assert ("no_job_ends_twice" in found) is bool(names), found


@pytest.mark.parametrize("names", [["versions_are_not_expected"], []], ids=["off", "on"])
async def test_without_expected_versions_two_dispatchers_tear_histories_apart(
    tmp_path: Path, names: list[str]
) -> None:
    async with scene(tmp_path, injected(*names)) as here:

        async def torn() -> bool:
            await here.submit(workflow="ten", input={"x": 0})  # the more there is to decide, the sooner
            return "history_is_whole" in rules(await here.violations())

        here.worker()
        with second_dispatcher(here) as serves:
            await here.until(serves)
            jobs = [await here.submit(workflow="ten", input={"x": x}) for x in range(20)]
            if names:
                await here.until(torn, timeout=120)
            else:
                await here.ended(*jobs, timeout=120)
        found = rules(await here.violations())
    assert ("history_is_whole" in found) is bool(names), found


@pytest.mark.parametrize("names", [["position_apart_from_rows"], []], ids=["off", "on"])
async def test_without_position_and_rows_in_one_transaction_an_update_is_lost(
    tmp_path: Path, names: list[str]
) -> None:
    async with scene(tmp_path, injected(*names)) as here:
        here.worker()
        jobs = [await here.submit(skill="add", input={"x": x}) for x in range(60)]
        await here.ended(*jobs)
        if names:
            await here.until((here.system.data / "the-projector-died").exists)
        else:
            await here.system.kill("projector")
        reader = JournalReader(here.system)
        last = await reader.catch_up()

        async def caught_up() -> bool:
            return await reading.projected(here.system) >= last

        await here.until(caught_up)
        last = await reader.catch_up()
        await here.until(caught_up)
    compared = rows.compare(here.system.data, reader.messages, tmp_path / "rebuilt")
    evidence = Evidence(reader.history(), served=compared.served, rebuilt=compared.rebuilt)
    assert bool(read_model_equals_a_rebuild(evidence)) is bool(names), compared.difference


@pytest.mark.parametrize("names", [["claims_are_always_granted"], []], ids=["off", "on"])
async def test_without_claims_a_cancelled_job_that_comes_again_is_run(
    tmp_path: Path, names: list[str]
) -> None:
    async with scene(tmp_path, injected(*names)) as here:
        worker = here.worker()
        job = await here.submit(skill="add", input={"x": 1, "seconds": 6})
        await here.until(lambda: here.executions(job))
        worker.kill()  # the task is out and will come again
        answer = await here.client.post(f"/v1/jobs/{job}/cancel", json={})
        assert answer.status_code == 200, answer.text
        # The rule excuses what starts within two seconds of the end.
        await asyncio.sleep(2.1)
        worker.start()
        await here.until_queues_are_empty()
        found = rules(await here.violations())
    assert found == ({"nothing_runs_after_the_end"} if names else set())


@contextmanager
def second_dispatcher(here: Scene) -> Iterator[Callable[[], bool]]:
    """Another dispatcher beside the one that is there; gives a way to ask whether it serves."""
    pid = here.system.find("dispatcher")
    environment = {**psutil.Process(pid).environ(), "DAYBOOK_DATA": str(here.folder / "second")}
    environment.pop(PARENT_PIPE)
    with (here.folder / "second.out").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.dispatcher"], cwd=ROOT, env=environment, stdout=out, stderr=out
        )
    try:
        yield (here.folder / "second" / "run" / "dispatcher.ready").exists
    finally:
        process.kill()
        process.wait()
