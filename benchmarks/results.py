"""What a benchmark run finds, as it is printed and as it is written to a file."""

from collections.abc import Mapping, Sequence

import msgspec

from benchmarks.metering import OUTSIDE
from benchmarks.percentiles import Latency, spread

DAYBOOK = "daybook"


class LoadRun(msgspec.Struct, frozen=True):
    """One run of a load: `jobs` ended in `seconds`.

    `seen` is from submit to the client holding the answer, `read` from submit to the read model showing
    the end. `cpu_us` is CPU microseconds per job by role. `foreign_cores` is what strangers used of the
    machine: a run above 0.2 is spoilt. `lag_seconds` is how long the read model took, after the last
    answer, to show it; that work is in `cpu_us`.
    """

    system: str
    durability: str
    scenario: str
    jobs: int
    seconds: float
    cpu_us: Mapping[str, float]
    foreign_cores: float
    seen: Latency | None = None
    read: Latency | None = None
    lag_seconds: float | None = None

    @property
    def rate(self) -> float:
        """Jobs a second."""
        return self.jobs / self.seconds

    @property
    def system_us(self) -> float:
        """CPU microseconds per job of everything but the load generator."""
        return sum(cost for role, cost in self.cpu_us.items() if role not in OUTSIDE)


class Finding(msgspec.Struct, frozen=True):
    """One measured value that is no load: its name, value and unit."""

    scenario: str
    durability: str
    name: str
    value: float
    unit: str


class Outcome(msgspec.Struct, frozen=True):
    """Everything one `python -m benchmarks` measured, and where."""

    machine: Mapping[str, str]
    loads: Sequence[LoadRun]
    findings: Sequence[Finding]


class Repeated(msgspec.Struct, frozen=True):
    """Runs of one load by one system: the middle one by rate, and how far the rates spread."""

    middle: LoadRun
    least: float
    greatest: float
    count: int


def repeated(runs: Sequence[LoadRun]) -> list[Repeated]:
    """Runs grouped by scenario, durability and system, in the order in which they first came."""
    groups: dict[tuple[str, str, str], list[LoadRun]] = {}
    for run in runs:
        groups.setdefault((run.scenario, run.durability, run.system), []).append(run)
    found = []
    for group in groups.values():
        rates = spread([run.rate for run in group])
        middle = next(run for run in group if run.rate == rates.median)
        found.append(Repeated(middle, rates.least, rates.greatest, len(group)))
    return found


class Ratio(msgspec.Struct, frozen=True):
    """Daybook against a peer: above 1 is in Daybook's favour in every field. None: not measured by both."""

    scenario: str
    durability: str
    peer: str
    rate: float
    cpu: float
    p50: float | None
    p99: float | None


def ratios(rows: Sequence[Repeated]) -> list[Ratio]:
    """Each peer's row against each of Daybook's rows of the same scenario."""
    found = []
    for ours in (row.middle for row in rows if row.middle.system == DAYBOOK):
        for peer in (row.middle for row in rows if row.middle.system != DAYBOOK):
            if peer.scenario == ours.scenario:
                both = (peer.seen, ours.seen) if peer.seen and ours.seen else None
                found.append(
                    Ratio(
                        scenario=ours.scenario,
                        durability=ours.durability,
                        peer=peer.system,
                        rate=ours.rate / peer.rate,
                        cpu=peer.system_us / ours.system_us,
                        p50=both[0].p50 / both[1].p50 if both else None,
                        p99=both[0].p99 / both[1].p99 if both else None,
                    )
                )
    return found
