"""One unmodified worker of the avtomatika-worker SDK, over its own HTTP: how many tasks it gets through.

`rate` submits jobs while nobody works, then starts the worker; tasks a second are counted from the first
claim to the last end, by the times in the journal. `beside_the_stub` sets the worker against the same
worker at a server that answers at once: what the SDK itself can do.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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
from benchmarks.turns import Side, take_turns
from shared.broker.connection import connect, disconnect
from shared.domain.topics import AGGREGATES, EVENTS
from shared.journal.journal import JetStreamJournal
from tests.contract.avtomatika.worker.sdk import sdk_python

NAME: Final = "sdk"
BLUEPRINT: Final = "sdk-blueprint"
JOBS: Final[Mapping[str, Mapping[str, Any]]] = {
    NAME: {"skill": "answer", "input": {"number": 1}},
    BLUEPRINT: {"workflow": "bench", "input": {}},
}
"""By the name of the row: jobs of one task, and those of a state machine with one dispatched task."""

STUB: Final = "SDK alone"
TASKS_A_SECOND: Final = {NAME: 600, BLUEPRINT: 300}
"""How many jobs are submitted for each second that their run should last."""
WARM_SECONDS: Final = 2.0
"""That both workers have been at work before their turns are counted."""
BULK_SIZE: Final = 64
WARM_SHARE: Final = 0.1
"""CPU is counted from when this share of the jobs has ended, so that the worker's start is left out."""
RATE: Final = 5.0
RUNS: Final = 3
"""How many times the length of a throughput run the latency is measured, and either worker works in turns."""
PATIENCE_SECONDS: Final = 120.0
LOOK_SECONDS: Final = 0.5
"""Between two looks at how far it is: each costs the machine as much as several tasks."""

_SKILLS: Final = Path(__file__).parents[1] / "sdk" / "skills.py"
BLUEPRINTS: Final = Path(__file__).parents[1] / "sdk" / "blueprints"


def measure(system: System, load: LoadGenerator, seconds: float) -> list[LoadRun]:
    """Latency first, while the journal is small. The system has no worker of its own."""
    return [
        latency(system, load, RUNS * seconds),
        rate(system, BLUEPRINT, seconds),
        *beside_the_stub(system, RUNS * seconds),
    ]


def rate(system: System, name: str, seconds: float) -> LoadRun:
    """Jobs that wait, and a worker that comes."""
    number = round(TASKS_A_SECOND[name] * seconds)
    with system.client() as client:
        before = _ended(client)
        system.work([sys.executable, "-c", "import sys; sys.stdin.read()"], {})  # nobody
        after = asyncio.run(_last_sequence(system))
        _submit(client, name, number)
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


def beside_the_stub(system: System, seconds: float) -> list[LoadRun]:
    """A worker for whom jobs wait, and one that the stub keeps busy, in turns of so many seconds together."""
    number = round(TASKS_A_SECOND[NAME] * (seconds + WARM_SECONDS))
    with system.client() as client, _alone() as alone:
        before = _ended(client)
        _submit(client, NAME, number)
        _work(system, system.url, f"{NAME}-turns")
        ours = Side(system.worker, system.meter(), lambda: _ended(client))
        _until(client, before + 1)
        sleep(WARM_SECONDS)
        take_turns([ours, alone], seconds)
        if _ended(client) - before == number:
            raise SystemFailed(f"{number} jobs were too few for {seconds:g} s")
    return [_run(DAYBOOK, system.durability, ours), _run(STUB, "none", alone)]


def _run(system: str, durability: str, side: Side) -> LoadRun:
    return LoadRun(
        system=system,
        durability=durability,
        scenario=NAME,
        jobs=side.jobs,
        seconds=side.seconds,
        cpu_us=side.cpu_us,
        foreign_cores=side.foreign_cores,
    )


@contextmanager
def _alone() -> Iterator[Side]:
    """A worker at the stub, which is the `load`."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    started = [subprocess.Popen([sys.executable, "-m", "benchmarks.sdk.stub", str(port)])]
    try:
        with httpx.Client(base_url=address, transport=httpx.HTTPTransport(retries=10)) as client:

            def done() -> int:
                return int(client.get("/done").text)

            done()
            started.append(
                subprocess.Popen(
                    [str(sdk_python()), str(_SKILLS)],
                    env={**os.environ, **_settings(address, "alone")},
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
            stub, worker = (process.pid for process in started)
            _wait(lambda: done() > 0, "the worker did not come to the stub")
            yield Side(worker, Meter({stub: "load", worker: "worker"}), done)
    finally:
        for process in started:
            process.kill()
            process.wait()


def _submit(client: httpx.Client, name: str, number: int) -> None:
    while number > 0:
        jobs = [dict(JOBS[name])] * min(BULK_SIZE, number)
        client.post("/v1/jobs/bulk", json={"jobs": jobs}).raise_for_status()
        number -= len(jobs)


def _work(system: System, url: str, name: str) -> None:
    """Start the SDK's worker, and wait until it is there."""
    system.work([str(sdk_python()), str(_SKILLS)], _settings(url, name))
    with system.client() as client:
        try:
            _wait(lambda: name in client.get("/v1/workers").text, "the worker did not come")
        except SystemFailed as error:
            raise SystemFailed(f"{error}: {system.log_tail()}") from None


def _settings(url: str, name: str) -> dict[str, str]:
    """The SDK's variables; everything else is as it comes.

    At its default of ten tasks at a time, a worker that gets them at once is full now and then, and sleeps
    for half a second.
    """
    return {
        "ORCHESTRATOR_URL": url,
        "WORKER_ID": name,
        "WORKER_TOKEN": WORKER_TOKEN,
        "MAX_CONCURRENT_TASKS": "100",
        "PYTHONPATH": "",
    }


def _ended(client: httpx.Client) -> int:
    answer = client.get("/v1/stats")
    return finished(Answer(answer.status_code, answer.content))


def _until(client: httpx.Client, number: int) -> None:
    """Wait until so many jobs have ended."""
    _wait(lambda: _ended(client) >= number, f"{number} jobs did not end", LOOK_SECONDS)


def _wait(condition: Callable[[], bool], otherwise: str, pause: float = 0.05) -> None:
    stop = monotonic() + PATIENCE_SECONDS
    while not condition():
        if monotonic() > stop:
            raise SystemFailed(f"{otherwise} in {PATIENCE_SECONDS:g} s")
        sleep(pause)


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
