"""Results as tables."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.metering import OUTSIDE, ROLES
from benchmarks.percentiles import Latency
from benchmarks.results import DAYBOOK, Finding, LoadRun, Outcome, Ratio, Repeated, ratios, repeated

SPOILT_CORES = 0.2
_SHORT = {"nats-server": "nats", "dispatcher": "dispatch", "scheduler": "schedule", "projector": "project"}
PLENTY = 200  # columns, which no table here needs


def show(outcome: Outcome, console: Console | None = None) -> None:
    """Print everything that was measured."""
    console = console or Console(width=None if Console().is_terminal else PLENTY)
    console.print("; ".join(f"{name} {value}" for name, value in outcome.machine.items()), highlight=False)
    rows = repeated(outcome.loads)
    if rows:
        console.print(load_table(rows))
        if any(row.middle.foreign_cores > SPOILT_CORES for row in rows):
            console.print(f"! strangers used more than {SPOILT_CORES} cores: the row is spoilt")
    if compared := ratios(rows):
        console.print(ratio_table(compared))
    if outcome.findings:
        console.print(finding_table(outcome.findings))


def load_table(rows: Sequence[Repeated]) -> Table:
    """One row a load: rate, latency, and CPU microseconds per job by role."""
    shown = [role for role in ROLES if any(role in row.middle.cpu_us for row in rows)]
    inside = [role for role in shown if role not in OUTSIDE]
    table = Table(title="CPU in µs per job; the sum is without the load generator", title_justify="left")
    for name in ("load", "system", "sync"):
        table.add_column(name, no_wrap=True)
    for name in (
        "jobs/s",
        "from..to",
        "p50 ms",
        "p95",
        "p99",
        *inside,
        "sum",
        *OUTSIDE,
        "foreign",
        "lag s",
    ):
        table.add_column(_SHORT.get(name, name), justify="right", no_wrap=True)
    for row in rows:
        run = row.middle
        table.add_row(
            run.scenario,
            run.system,
            run.durability,
            f"{run.rate:,.0f}",
            f"{row.least:,.0f}..{row.greatest:,.0f}" if row.count > 1 else "",
            *_latency(run.seen),
            *(_cost(run, role) for role in inside),
            f"{run.system_us:,.0f}",
            *(_cost(run, role) for role in OUTSIDE),
            f"{run.foreign_cores:.2f}{'!' if run.foreign_cores > SPOILT_CORES else ''}",
            "" if run.lag_seconds is None else f"{run.lag_seconds:.2f}",
        )
        if run.read is not None:
            table.add_row("… read model", "", "", "", "", *_latency(run.read))
    return table


def ratio_table(compared: Sequence[Ratio]) -> Table:
    """How many times better Daybook is: below 1 the peer is."""
    table = Table(title="Daybook / peer, above 1 is in Daybook's favour", title_justify="left")
    for name in ("load", f"{DAYBOOK} sync", "peer"):
        table.add_column(name)
    for name in ("jobs/s", "CPU per job", "p50", "p99"):
        table.add_column(name, justify="right")
    for one in compared:
        times = ["" if value is None else f"{value:.2f}" for value in (one.rate, one.cpu, one.p50, one.p99)]
        table.add_row(one.scenario, one.durability, one.peer, *times)
    return table


def finding_table(findings: Sequence[Finding]) -> Table:
    """One row a value."""
    table = Table()
    for name in ("scenario", "sync", "what"):
        table.add_column(name)
    table.add_column("value", justify="right")
    table.add_column("unit")
    for one in findings:
        table.add_row(one.scenario, one.durability, one.name, figure(one.value), one.unit)
    return table


def line(run: LoadRun) -> str:
    """One run in one line, for watching."""
    seen = f", p50 {run.seen.p50:.1f} ms, p99 {run.seen.p99:.1f} ms" if run.seen else ""
    return (
        f"{run.scenario} {run.system} {run.durability}: {run.rate:,.0f} jobs/s, "
        f"{run.system_us:,.0f} µs CPU per job{seen}, foreign cores {run.foreign_cores:.2f}"
    )


def figure(value: float) -> str:
    """Four digits that count, never an exponent."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _latency(found: Latency | None) -> tuple[str, str, str]:
    if found is None:
        return "", "", ""
    return f"{found.p50:.1f}", f"{found.p95:.1f}", f"{found.p99:.1f}"


def _cost(run: LoadRun, role: str) -> str:
    return f"{run.cpu_us[role]:,.0f}" if role in run.cpu_us else ""
