"""How long one job takes on a machine that is not busy: ten jobs a second, at fixed moments."""

from benchmarks.commands import Open
from benchmarks.driver import LoadGenerator
from benchmarks.metering import usage
from benchmarks.results import DAYBOOK, LoadRun
from benchmarks.system import CLIENT_TOKEN, System
from benchmarks.workloads import ONE_STEP

NAME = "latency"
RATE = 10.0
RUNS = 3
"""How many times the length of a throughput run it lasts: few jobs a second need longer."""
WARM_UP_SECONDS = 2.0


def measure(system: System, load: LoadGenerator, seconds: float) -> LoadRun:
    """One-step jobs. `read` ends when the read model answers with the ended job, one request included."""

    def command(seconds: float) -> Open:
        return Open(
            url=system.url,
            token=CLIENT_TOKEN,
            request=system.submit(ONE_STEP),
            expect='"status":"succeeded"',
            read="/v1/jobs/{job_id}?min_sequence={sequence}",
            rate=RATE,
            seconds=seconds,
        )

    load.run(command(WARM_UP_SECONDS))
    meter = system.meter(load.pid)
    before = meter.sample()
    ran = load.run(command(seconds))
    used = usage(before, meter.sample())
    return LoadRun(
        system=DAYBOOK,
        durability=system.durability,
        scenario=NAME,
        jobs=ran.done,
        seconds=ran.seconds,
        cpu_us=used.per_job_us(ran.done),
        foreign_cores=used.foreign_cores,
        seen=ran.seen,
        read=ran.read,
    )
