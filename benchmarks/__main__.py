"""`python -m benchmarks [scenario …]` measures, `… profile W1 --role dispatcher` samples one process."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks import peers, profiling, report
from benchmarks.errors import BenchmarkError
from benchmarks.metering import ROLES
from benchmarks.plan import QUICK, SCENARIOS, Plan, run
from benchmarks.scenarios.throughput import BULK
from benchmarks.system import DURABILITIES
from benchmarks.workloads import WORKLOADS

_EXAMPLES = """examples:
  python -m benchmarks W1 --durability always --seconds 5 --repeats 1
  python -m benchmarks all --json bench.json
  PEERS_DIR=/opt/peers python -m benchmarks W1 W2 W3 latency --peers ../peers
  python -m benchmarks profile W1 --role dispatcher
"""


def main(arguments: Sequence[str]) -> int:
    """0 when everything was measured, 1 when not, 2 on wrong usage."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exit that leaves no process behind
    try:
        return _profile(arguments[1:]) if arguments[:1] == ["profile"] else _measure(arguments)
    except BenchmarkError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


def _measure(arguments: Sequence[str]) -> int:
    names = {name.lower(): name for name in SCENARIOS}
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Load scenarios against a fresh `daybook up` and one worker process.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "scenario",
        nargs="*",
        type=str.lower,
        help=f"{', '.join(SCENARIOS)}; all; default: {', '.join(QUICK)}",
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a throughput run (10)")
    parser.add_argument("--repeats", type=int, default=3, help="rounds, each on a fresh system (3)")
    parser.add_argument(
        "--durability",
        choices=[*DURABILITIES, "both"],
        default="both",
        help="how the broker syncs: before each answer, or by its own default (both)",
    )
    parser.add_argument(
        "--peers",
        type=Path,
        metavar="DIR",
        help=f"run Restate in the same rounds; DIR holds {peers.SCRIPT}, PEERS_DIR (or DIR) its installation",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run there")
    parser.add_argument("--data", type=Path, metavar="DIR", help="where the systems keep their data")
    parser.add_argument("--events", type=int, default=1_000_000, help="of the replay (1000000)")
    parser.add_argument("--jobs", type=int, default=1_000_000, help="of the list pages (1000000)")
    parser.add_argument("--pages", type=int, default=200, help="walked of each listing (200)")
    told = parser.parse_args(arguments)
    if unknown := set(told.scenario) - {*names, "all"}:
        parser.error(f"no scenario is called {', '.join(sorted(unknown))}")
    scenarios = tuple(SCENARIOS) if "all" in told.scenario else tuple(names[name] for name in told.scenario)
    installed = os.environ.get("PEERS_DIR")
    plan = Plan(
        scenarios=scenarios or QUICK,
        durabilities=DURABILITIES if told.durability == "both" else (told.durability,),
        seconds=told.seconds,
        repeats=told.repeats,
        data=told.data,
        peer=peers.find(told.peers, Path(installed) if installed else None) if told.peers else None,
        events=told.events,
        jobs=told.jobs,
        pages=told.pages,
    )
    outcome = run(plan, lambda line: print(line, file=sys.stderr, flush=True))
    report.show(outcome)
    if told.json:
        told.json.write_bytes(msgspec.json.format(msgspec.json.encode(outcome)))
    return 0


def _profile(arguments: Sequence[str]) -> int:
    loads = {name.lower(): name for name in (*(workload.name for workload in WORKLOADS), BULK)}
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks profile", description="Sample one process under a load, with py-spy."
    )
    parser.add_argument("load", choices=list(loads), type=str.lower)
    parser.add_argument("--role", required=True, choices=[*ROLES])
    parser.add_argument("--py-spy", metavar="PATH", help="the program, when it is not on the path")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--durability", choices=DURABILITIES, default="always")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="keep the collapsed stacks there")
    told = parser.parse_args(arguments)
    found = profiling.profile(
        loads[told.load],
        told.role,
        profiling.find(told.py_spy),
        told.seconds,
        told.durability,
        told.keep,
    )
    console = Console()
    console.print(f"{found.role}: {found.cpu_us:,.0f} µs CPU per job while sampled, {found.samples} samples")
    for title, shares in (
        ("in the function itself", found.own),
        ("in it and below", found.below),
        ("in the file", found.files),
    ):
        table = Table("share", "where", title=title, title_justify="left")
        for name, share in shares:
            table.add_row(f"{share:.1%}", name)
        console.print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
