"""W1, W2, W3 and bulk: as many jobs as fit on the machine."""

from benchmarks.commands import Bulk, Closed, Ran
from benchmarks.driver import LoadGenerator
from benchmarks.http_client import request
from benchmarks.metering import Sample, usage
from benchmarks.results import DAYBOOK, LoadRun
from benchmarks.system import CLIENT_TOKEN, System
from benchmarks.workloads import ONE_STEP, Workload

IN_FLIGHT = 64
WARM_UP_SECONDS = 2.0

BULK = "bulk"
BULK_SIZE = 64
BULK_WINDOW = 512
BULK_CONNECTIONS = 2


def closed(system: System, load: LoadGenerator, workload: Workload, seconds: float) -> LoadRun:
    """64 clients that each submit a job and wait for its end. The work of the projector is in the sum."""
    command = Closed(
        url=system.url,
        request=system.submit(workload),
        expect='"status":"succeeded"',
        in_flight=IN_FLIGHT,
        seconds=min(WARM_UP_SECONDS, seconds),
    )
    load.run(command)
    meter = system.meter(load.pid)
    before = meter.sample()
    ran = load.run(Closed(command.url, command.request, command.expect, IN_FLIGHT, seconds))
    lag = system.settle(ran.last_sequence)
    return _load_run(system, workload.name, ran, before, meter.sample(), lag)


def bulk(system: System, load: LoadGenerator, seconds: float) -> LoadRun:
    """One-step jobs, 64 a request, at most 512 unfinished; they count when the read model shows the end.

    `seen` is the time until a request of 64 is accepted.
    """
    command = bulk_command(system, seconds=min(WARM_UP_SECONDS, seconds))
    load.run(command)
    meter = system.meter(load.pid)
    before = meter.sample()
    ran = load.run(bulk_command(system, seconds=seconds))
    return _load_run(system, BULK, ran, before, meter.sample(), None)


def bulk_command(system: System, *, seconds: float, jobs: int | None = None) -> Bulk:
    """One-step jobs in bulk, for so long or so many."""
    to = system.address
    body = {"jobs": [ONE_STEP.job] * BULK_SIZE}
    return Bulk(
        url=system.url,
        request=request("POST", "/v1/jobs/bulk", to=to, token=CLIENT_TOKEN, json=body),
        stats=request("GET", "/v1/stats", to=to, token=CLIENT_TOKEN),
        size=BULK_SIZE,
        window=BULK_WINDOW,
        connections=BULK_CONNECTIONS,
        seconds=seconds,
        jobs=jobs,
    )


def _load_run(
    system: System, scenario: str, ran: Ran, before: Sample, after: Sample, lag: float | None
) -> LoadRun:
    used = usage(before, after)
    return LoadRun(
        system=DAYBOOK,
        durability=system.durability,
        scenario=scenario,
        jobs=ran.done,
        seconds=ran.seconds,
        cpu_us=used.per_job_us(ran.done),
        foreign_cores=used.foreign_cores,
        seen=ran.seen,
        lag_seconds=lag,
    )
