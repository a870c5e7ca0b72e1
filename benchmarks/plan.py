"""Which scenarios run, in which order.

Each round starts a fresh system, measures, and stops it; a peer takes its turn in the same round, so that
both meet the same noise. Odd rounds go backwards, so that nobody always comes first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import machine, peers, report
from benchmarks.driver import LoadGenerator
from benchmarks.results import Finding, LoadRun, Outcome
from benchmarks.scenarios import latency, memory, pages, replay, sdk, throughput
from benchmarks.system import Durability, System
from benchmarks.workloads import ONE_STEP, WORKLOADS

_THROUGHPUT = {workload.name: workload for workload in WORKLOADS}
LOADS = (*_THROUGHPUT, throughput.BULK, latency.NAME)
LONG = (memory.NAME, replay.NAME, pages.NAME)
SCENARIOS = (*LOADS, sdk.NAME, *LONG)
QUICK = LOADS

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure. `data` is the directory for the systems' data, None the usual temporary one."""

    scenarios: Sequence[str]
    durabilities: Sequence[Durability]
    seconds: float
    repeats: int
    data: Path | None = None
    peer: peers.Peer | None = None
    events: int = replay.EVENTS
    jobs: int = pages.JOBS
    pages: int = pages.PAGES


def run(plan: Plan, tell: Tell) -> Outcome:
    """Measure everything; `tell` hears a line about each thing measured. Raises BenchmarkError."""
    about = machine.describe(plan.data)
    wanted = [name for name in LOADS if name in plan.scenarios]
    loads = [found for number in range(plan.repeats) for found in _round(plan, wanted, number, tell)]
    loads += [found for _ in range(plan.repeats) for found in _sdk(plan, tell)]
    findings: list[Finding] = []
    for durability in plan.durabilities:
        findings += _long(plan, durability, tell)
    return Outcome(about, loads, findings)


def _round(plan: Plan, scenarios: Sequence[str], number: int, tell: Tell) -> list[LoadRun]:
    if not scenarios:
        return []
    turns: list[Callable[[], list[LoadRun]]] = [
        partial(_daybook, plan, durability, scenarios, tell) for durability in plan.durabilities
    ]
    if plan.peer is not None:
        turns.append(partial(_peer, plan.peer, scenarios, plan.seconds, tell))
    if number % 2:
        turns.reverse()
    return [found for turn in turns for found in turn()]


def _daybook(plan: Plan, durability: Durability, scenarios: Sequence[str], tell: Tell) -> list[LoadRun]:
    found = []
    with System(durability, plan.data) as system, LoadGenerator() as load:
        for name in scenarios:
            system.prepare(_THROUGHPUT.get(name, ONE_STEP))
            if name == throughput.BULK:
                found.append(throughput.bulk(system, load, plan.seconds))
            elif name == latency.NAME:
                found.append(latency.measure(system, load, latency.RUNS * plan.seconds))
            else:
                found.append(throughput.closed(system, load, _THROUGHPUT[name], plan.seconds))
            tell(report.line(found[-1]))
    return found


def _sdk(plan: Plan, tell: Tell) -> list[LoadRun]:
    """A worker of another project's SDK, and what it does alone."""
    found: list[LoadRun] = []
    if sdk.NAME in plan.scenarios:
        for durability in plan.durabilities:
            env = {"DAYBOOK_BLUEPRINTS": str(sdk.BLUEPRINTS)}
            with (
                System(durability, plan.data, env, native_worker=False) as system,
                LoadGenerator() as load,
            ):
                found += sdk.measure(system, load, plan.seconds)
    for one in found:
        tell(report.line(one))
    return found


def _peer(peer: peers.Peer, scenarios: Sequence[str], seconds: float, tell: Tell) -> list[LoadRun]:
    found = peers.measure(peer, scenarios, seconds)
    for one in found:
        tell(report.line(one))
    return found


def _long(plan: Plan, durability: Durability, tell: Tell) -> list[Finding]:
    found: list[Finding] = []
    if memory.NAME in plan.scenarios:
        with System(durability, plan.data) as system, LoadGenerator() as load:
            system.prepare(ONE_STEP)
            found += memory.measure(system, load)
    if durability == plan.durabilities[0]:  # these do not depend on how the broker syncs
        if replay.NAME in plan.scenarios:
            found += replay.measure(plan.data, plan.events, tell)
        if pages.NAME in plan.scenarios:
            found += pages.measure(plan.data, plan.jobs, plan.pages, tell)
    for one in found:
        tell(f"{one.scenario} {one.durability}: {one.name} {report.figure(one.value)} {one.unit}")
    return found
