"""The command line as real processes, on a whole system with a real worker."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from shared.settings import known_variables
from tests.support.system import System

pytestmark = [pytest.mark.connected, pytest.mark.slow]

SKILLS = """
import asyncio
from daybook import Worker
from daybook.errors import PermanentError

worker = Worker(concurrency=3)

@worker.skill("greet")
async def greet(given):
    return {"text": f"hello {given['name']}"}

@worker.skill("refuse")
async def refuse(given):
    raise PermanentError("not today\\x1b[2J")

@worker.skill("sleep")
async def sleep(given):
    await asyncio.sleep(3600)
"""

GRAPH = {
    "nodes": {
        "ask": {"kind": "wait", "for": "approval", "name": "boss", "decisions": ["approved", "rejected"]},
        "greet": {"kind": "task", "skill": "greet", "input": {"cel": "input"}},
    },
    "edges": [{"from": "ask", "port": "approved", "to": "greet"}],
}


class Said(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        return json.loads(self.out)


Daybook = Callable[..., Awaitable[Said]]


def environment(**more: str) -> dict[str, str]:
    known = {*known_variables(), "DAYBOOK_URL"}
    return {
        **{name: value for name, value in os.environ.items() if name not in known},
        "NO_COLOR": "1",
        **more,
    }


@pytest.fixture
async def daybook(daybook_system: System, tmp_path: Path) -> Daybook:
    """Runs the command line, which finds the system by its data folder."""

    async def run(*arguments: str) -> Said:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "daybook",
            *arguments,
            cwd=tmp_path,
            env=environment(DAYBOOK_DATA=str(daybook_system.data)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
        return Said(process.returncode or 0, out.decode(), err.decode())

    return run


@pytest.fixture
async def worker(daybook_system: System, daybook: Daybook, tmp_path: Path) -> AsyncIterator[None]:
    """`daybook worker run` in the middle of its work; at the end it must leave in order."""
    (tmp_path / "skills.py").write_text(SKILLS)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "daybook",
        "worker",
        "run",
        "skills:worker",
        "--name",
        "w1",
        cwd=tmp_path,
        env=environment(DAYBOOK_DATA=str(daybook_system.data)),
    )
    try:
        async with asyncio.timeout(60):
            while not (await daybook("workers", "--json")).value:
                await asyncio.sleep(0.05)
        yield
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 40) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.usefixtures("worker")
async def test_a_job_from_submit_to_history(daybook: Daybook) -> None:
    assert "w1" in (await daybook("workers")).out
    done = await daybook("submit", "greet", '{"name": "Ada"}', "--skill", "--wait", "20", "--json")
    assert done.status == 0
    assert done.value["output"] == {"text": "hello Ada"}
    job = done.value["job_id"]
    history = (await daybook("history", job, "--json")).value
    # On a machine that stood still the task is queued, or claimed, on its way.
    types = [event["type"] for event in history if event["type"] not in ("TaskQueued", "TaskClaimed")]
    assert types == ["JobAccepted", "TaskReleased", "TaskSucceeded", "JobSucceeded"]
    assert (await daybook("watch", job)).status == 0
    async with asyncio.timeout(60):  # rows follow
        while job not in (await daybook("list", "--status", "succeeded", "--skill", "greet")).out:
            pass
    again = (await daybook("retry", job)).out.strip()
    assert again != job
    assert (await daybook("watch", again)).status == 0

    failed = await daybook("submit", "refuse", "-s", "--watch")
    assert failed.status == 1
    assert "not today[2J" in failed.out
    assert "\x1b" not in failed.out


@pytest.mark.usefixtures("worker")
async def test_a_workflow_from_publish_to_approval_and_cancel(daybook: Daybook, tmp_path: Path) -> None:
    (tmp_path / "greet.json").write_text(json.dumps(GRAPH))
    published = await daybook("workflows", "publish", "welcome", "greet.json")
    assert published.out == "welcome version 1\n", published.err
    assert (await daybook("workflows", "publish", "welcome", "greet.json")).out == "welcome version 1\n"
    assert "welcome" in (await daybook("workflows", "list")).out
    assert (await daybook("workflows", "get", "welcome")).value["nodes"].keys() == {"ask", "greet"}

    job = (await daybook("submit", "welcome", '{"name": "Bo"}')).out.strip()
    assert (await daybook("get", job, "--json")).value["status"] == "waiting_signal"
    decided = await daybook("approve", job, "approved", "--name", "boss")
    assert decided.status == 0, decided.err
    assert (await daybook("watch", job)).status == 0
    assert (await daybook("get", job, "--json")).value["output"] == {"text": "hello Bo"}

    sleeper = (await daybook("submit", "sleep", "-s")).out.strip()
    assert (await daybook("cancel", sleeper, "--reason", "enough")).out.strip() == "cancelled"
    assert (await daybook("cancel", sleeper)).out.strip() == "cancelled (as before)"
    refused = await daybook("cancel", job)
    assert refused.status == 1
    assert "409" in refused.err


async def test_projections_and_the_doctor(daybook: Daybook, daybook_system: System) -> None:
    for _ in range(3):
        await daybook("submit", "nobody-has-it", "-s")
    async with asyncio.timeout(60):
        while (status := (await daybook("projections", "status", "--json")).value)["lag"]:
            pass  # each look is a process of its own
    assert status["position"] == 3
    verified = await daybook("projections", "rebuild", "--verify", "--json")
    assert verified.status == 0
    assert (verified.value["equal"], verified.value["swapped"]) == (True, False)
    rebuilt = await daybook("projections", "rebuild")
    assert rebuilt.status == 0, rebuilt.err
    assert "equal" in rebuilt.out

    doctor = await daybook("doctor", "--json")
    assert doctor.status == 0, doctor.out
    found = {item["name"]: item for item in doctor.value}
    assert {item["level"] for item in found.values()} == {"well"}, doctor.out
    assert "always" in found["durability"]["found"]

    supervisor = await daybook_system.living("supervisor")
    os.kill(supervisor, signal.SIGSTOP)  # so that what is killed stays down
    try:
        await daybook_system.kill("projector")
        ill = await daybook("doctor")
    finally:
        os.kill(supervisor, signal.SIGCONT)
    assert ill.status == 1
    assert "FAILS projector" in ill.out
    assert "no projector runs" in ill.out
