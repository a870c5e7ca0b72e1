"""Pages of `GET /v1/jobs` over a read model of a million jobs.

The read model is filled by the projector's own code; then the real API process serves it, beside a broker
whose journal is empty, which pages do not read.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from benchmarks.commands import Pages
from benchmarks.driver import LoadGenerator
from benchmarks.errors import SystemFailed
from benchmarks.history import START, commits
from benchmarks.metering import Meter, usage
from benchmarks.results import Finding
from benchmarks.system import CLIENT_TOKEN, START_SECONDS, WORKER_TOKEN, free_port
from shared.application.clock import to_us
from shared.application.summary import iso
from shared.broker.embedded import EmbeddedServer
from shared.process import ready_file
from shared.readmodels.opening import database
from shared.readmodels.projection import Projection
from shared.settings import Settings

NAME = "pages"
JOBS = 1_000_000
PAGES = 200
DURABILITY: Final = "default"


def queries(jobs: int) -> dict[str, str]:
    """The listings that are measured, by what they are called."""
    middle = iso(to_us(START + timedelta(milliseconds=jobs // 2)))
    return {
        "no filter": "/v1/jobs?limit=50",
        "status=failed": "/v1/jobs?limit=50&status=failed",
        "status=queued": "/v1/jobs?limit=50&status=queued",
        "workflow": "/v1/jobs?limit=50&workflow=workflow-7",
        "workflow and status": "/v1/jobs?limit=50&workflow=workflow-7&status=failed",
        "tag": "/v1/jobs?limit=50&tag=customer%3D7",
        "tag and status": "/v1/jobs?limit=50&tag=customer%3D7&status=failed",
        "created before the middle": f"/v1/jobs?limit=50&created_before={middle}",
        "500 a page": "/v1/jobs?limit=500",
    }


def measure(parent: Path | None, jobs: int, pages: int, tell: Callable[[str], None]) -> list[Finding]:
    """Fill, serve, and walk so many pages of each listing. Raises SystemFailed when the API fails."""
    data = Path(tempfile.mkdtemp(prefix="daybook-bench-", dir=parent))
    try:
        tell(f"{NAME}: projecting {jobs:,} jobs")
        found = _fill(data, jobs)
        with _serving(data) as (url, pid), LoadGenerator() as load:
            for what, path in queries(jobs).items():
                meter = Meter({pid: "api"})
                load.run(Pages(url, CLIENT_TOKEN, path, 5))
                before = meter.sample()
                ran = load.run(Pages(url, CLIENT_TOKEN, path, pages))
                cost = usage(before, meter.sample()).per_job_us(ran.done)["api"]
                assert ran.seen is not None, "it walked pages"
                found += [
                    Finding(NAME, DURABILITY, f"{what}, p50", ran.seen.p50, "ms"),
                    Finding(NAME, DURABILITY, f"{what}, p99", ran.seen.p99, "ms"),
                    Finding(NAME, DURABILITY, f"{what}, API's CPU a page", cost, "µs"),
                ]
        return found
    finally:
        shutil.rmtree(data, ignore_errors=True)


def _fill(data: Path, jobs: int) -> list[Finding]:
    session = database(None, data).writer()
    try:
        projection = Projection(session)
        count = 0
        projecting = 0.0
        for batch in commits(jobs, START):
            start = os.times()
            projection.project(batch)
            projecting += sum(os.times()[:2]) - sum(start[:2])
            count += len(batch)
        if projection.poisoned:
            raise SystemFailed(f"{projection.poisoned} commits could not be projected")
    finally:
        session.close()
    return [
        Finding(NAME, DURABILITY, "jobs", float(jobs), ""),
        Finding(
            NAME, DURABILITY, "projecting, batches of 1000 jobs, CPU a commit", projecting / count * 1e6, "µs"
        ),
    ]


@contextmanager
def _serving(data: Path) -> Iterator[tuple[str, int]]:
    """The API's address and process id. Both processes end with the block."""
    broker = EmbeddedServer(data / "nats", worker_token=WORKER_TOKEN, sync=DURABILITY)
    broker.start()
    try:
        asyncio.run(broker.wait_ready())
        http = f"127.0.0.1:{free_port()}"
        settings = Settings.from_env(
            data=data,
            http=http,
            grpc="127.0.0.1:0",
            nats_url=broker.url,
            nats_password=broker.password,
        )
        with (data / "api.log").open("ab") as log:
            api = subprocess.Popen(
                [sys.executable, "-m", "services.api"],
                env={**os.environ, **settings.environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            _wait_for(ready_file(data, "api"), api, data / "api.log")
            yield f"http://{http}", api.pid
        finally:
            api.terminate()
            api.wait()
    finally:
        asyncio.run(broker.stop())


def _wait_for(ready: Path, api: subprocess.Popen[bytes], log: Path) -> None:
    stop = monotonic() + START_SECONDS
    while not ready.exists():
        if api.poll() is not None or monotonic() > stop:
            raise SystemFailed(f"the API did not start: {log.read_text(errors='replace')[-1000:]}")
        sleep(0.02)
