"""One unmodified worker of the avtomatika-worker SDK, over its own HTTP: how many tasks it gets through.

`rate` submits jobs while nobody works, then starts the worker; tasks a second are counted from the first
claim to the last end, by the times in the journal. `ceiling` is the same worker against a server that
answers at once.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

import httpx

from benchmarks.commands import Open
from benchmarks.driver import LoadGenerator
from benchmarks.errors import SystemFailed
from benchmarks.http_client import Answer, request
from benchmarks.load import finished
from benchmarks.metering import Meter, usage
from benchmarks.results import DAYBOOK, LoadRun
from benchmarks.system import CLIENT_TOKEN, WORKER_TOKEN, System, free_port
from shared.broker.connection import connect, disconnect
from shared.domain.topics import AGGREGATES, EVENTS
from shared.journal.journal import JetStreamJournal
from tests.contract.avtomatika.worker.sdk import sdk_python

NAME: Final = "sdk"
CEILING: Final = "sdk-ceiling"
JOBS: Final[Mapping[str, Mapping[str, Any]]] = {
    "sdk": {"skill": "answer", "input": {"number": 1}},
    "sdk-blueprint": {"workflow": "bench", "input": {}},
}
"""By the name of the row: jobs of one task, and those of a state machine with one dispatched task."""

STUB: Final = "SDK alone"
TASKS_A_SECOND: Final = 300
"""How many jobs a run submits for each second that it should last."""
BULK_SIZE: Final = 64
WARM_SHARE: Final = 0.1
"""CPU is counted from when this share of the jobs has ended, so that the worker's start is left out."""
RATE: Final = 5.0
RUNS: Final = 3
"""How many times the length of a throughput run the latency is measured."""
PATIENCE_SECONDS: Final = 120.0
LOOK_SECONDS: Final = 0.5
"""Between two looks at how far it is: each costs the machine as much as several tasks."""

_SKILLS: Final = Path(__file__).parents[1] / "sdk" / "skills.py"
BLUEPRINTS: Final = Path(__file__).parents[1] / "sdk" / "blueprints"


def measure(system: System, load: LoadGenerator, seconds: float) -> list[LoadRun]:
    """Latency first, while the journal is small; then both rates. The system has no worker of its own."""
    runs = [latency(system, load, RUNS * seconds)]
    runs += [rate(system, name, round(TASKS_A_SECOND * seconds)) for name in JOBS]
    return runs


def rate(system: System, name: str, number: int) -> LoadRun:
    """So many jobs that wait, and a worker that comes."""
    with system.client() as client:
        before = _ended(client)
        system.work([sys.executable, "-c", "import sys; sys.stdin.read()"], {})  # nobody
        after = asyncio.run(_last_sequence(system))
        left = number
        while left > 0:
            jobs = [dict(JOBS[name])] * min(BULK_SIZE, left)
            client.post("/v1/jobs/bulk", json={"jobs": jobs}).raise_for_status()
            left -= len(jobs)
        _work(system, system.url, f"{name}-rate")
        _until(client, before + round(WARM_SHARE * number))
        meter = system.meter()
        begun, sample = _ended(client) - before, meter.sample()
        _until(client, before + number)
        used = usage(sample, meter.sample())
    return LoadRun(
        system=DAYBOOK,
        durability=system.durability,
        scenario=name,
        jobs=number,
        seconds=asyncio.run(_lasted(system, after, number)),
        cpu_us=used.per_job_us(number - begun),
        foreign_cores=used.foreign_cores,
    )


def latency(system: System, load: LoadGenerator, seconds: float) -> LoadRun:
    """Five jobs a second at fixed moments: submit → the client sees the end."""
    _work(system, system.url, "sdk-latency")

    def command(seconds: float) -> Open:
        return Open(
            url=system.url,
            token=CLIENT_TOKEN,
            request=request(
                "POST", "/v1/jobs", to=system.address, token=CLIENT_TOKEN, json=JOBS["sdk"], wait_seconds=30
            ),
            expect='"status":"succeeded"',
            read="/v1/jobs/{job_id}?min_sequence={sequence}",
            rate=RATE,
            seconds=seconds,
        )

    load.run(command(2.0))
    meter = system.meter(load.pid)
    sample = meter.sample()
    ran = load.run(command(seconds))
    used = usage(sample, meter.sample())
    return LoadRun(
        system=DAYBOOK,
        durability=system.durability,
        scenario="sdk-latency",
        jobs=ran.done,
        seconds=ran.seconds,
        cpu_us=used.per_job_us(ran.done),
        foreign_cores=used.foreign_cores,
        seen=ran.seen,
        read=ran.read,
    )


def ceiling(seconds: float) -> LoadRun:
    """What the worker does when nothing holds it up. The stub is the `load`."""
    port, number = free_port(), round(2 * TASKS_A_SECOND * seconds)
    command = [sys.executable, "-m", "benchmarks.sdk.stub", str(port), str(number)]
    stub = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    worker = None
    try:
        assert stub.stdout is not None
        stub.stdout.readline()
        env = {**os.environ, **_settings(f"http://127.0.0.1:{port}", "ceiling")}
        worker = subprocess.Popen(
            [str(sdk_python()), str(_SKILLS)], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        meter = Meter({stub.pid: "load", worker.pid: "worker"})
        sample = meter.sample()
        lasted = float(stub.stdout.readline())
        # What the worker's start costs is in it: a second of CPU among some thousands of tasks.
        used = usage(sample, meter.sample())
    finally:
        for process in (worker, stub):
            if process is not None:
                process.kill()
                process.wait()
    return LoadRun(
        system=STUB,
        durability="none",
        scenario=NAME,
        jobs=number,
        seconds=lasted,
        cpu_us=used.per_job_us(number),
        foreign_cores=used.foreign_cores,
    )


def _work(system: System, url: str, name: str) -> None:
    """Start the SDK's worker, and wait until it is there."""
    system.work([str(sdk_python()), str(_SKILLS)], _settings(url, name))
    with system.client() as client:
        stop = monotonic() + PATIENCE_SECONDS
        while monotonic() < stop:
            if name in client.get("/v1/workers").text:
                return
            sleep(0.05)
    raise SystemFailed(f"the worker did not come: {system.log_tail()}")


def _settings(url: str, name: str) -> dict[str, str]:
    """The SDK's variables; everything else is as it comes."""
    return {"ORCHESTRATOR_URL": url, "WORKER_ID": name, "WORKER_TOKEN": WORKER_TOKEN, "PYTHONPATH": ""}


def _ended(client: httpx.Client) -> int:
    answer = client.get("/v1/stats")
    return finished(Answer(answer.status_code, answer.content))


def _until(client: httpx.Client, number: int) -> None:
    """Wait until so many jobs have ended."""
    stop = monotonic() + PATIENCE_SECONDS
    while (now := _ended(client)) < number:
        if monotonic() > stop:
            raise SystemFailed(f"{now} of {number} jobs ended in {PATIENCE_SECONDS:g} s")
        sleep(LOOK_SECONDS)


async def _last_sequence(system: System) -> int:
    connection = await connect(
        system.nats_url, name="daybook-benchmark", user="daybook", password=system.nats_password
    )
    try:
        journal = await JetStreamJournal.open(connection, EVENTS, AGGREGATES)
        last = await journal.last_sequence()
        await journal.publisher.stop()
        return last
    finally:
        await disconnect(connection)


async def _lasted(system: System, after: int, number: int) -> float:
    """Seconds from the first claim behind a sequence of the journal to the last of so many good ends."""
    connection = await connect(
        system.nats_url, name="daybook-benchmark", user="daybook", password=system.nats_password
    )
    began, left = 0, number
    try:
        journal = await JetStreamJournal.open(connection, EVENTS, AGGREGATES)
        async for commits in journal.follow(after, ["job"]):
            for commit in commits:
                topics = {topic for topic, _ in commit.events}
                if "TaskClaimed" in topics and not began:
                    began = commit.at
                if "JobSucceeded" in topics:
                    left -= 1
                    if not left:
                        await journal.publisher.stop()
                        return (commit.at - began) / 1e6
    finally:
        await disconnect(connection)
    raise SystemFailed("the journal ended")
