"""The long fault runs: `python -m tests.faults`, or `make faults`.

    python -m tests.faults                             the kills, the power cuts, then the backlog
    python -m tests.faults kills --jobs 6000 --strikes 60 --seed 7
    python -m tests.faults kills --workers sdk         the same with workers of the avtomatika-worker SDK
    python -m tests.faults power --cuts 12 --seed 7    needs root and a loop device
    python -m tests.faults backlog --jobs 10000

The seed is printed first; the same seed gives the same load and the same strikes. The exit status is 0 when
every rule holds, 1 when one does not; then the folder with journal, logs and ledgers is kept and named.
"""

import argparse
import asyncio
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.faults import backlog
from tests.faults.disk import refusal
from tests.faults.nemesis import POWER
from tests.faults.reading import JournalReader
from tests.faults.run import SHORTER, Plan, run
from tests.faults.scene import scene

CONSOLE = Console(highlight=False, markup=False)
Bar = Callable[[str, int, int], None]
"""Hears (phase, done, total)."""


def main() -> int:
    given = _arguments()
    seed = given.seed if given.seed is not None else secrets.randbelow(1_000_000)
    all_well = True
    if given.what in ("kills", "all"):
        environment = SHORTER if given.short_leases else {}
        plan = Plan(
            seed,
            given.jobs or 6000,
            given.strikes,
            given.rate,
            given.quiet,
            environment=environment,
            workers=given.workers,
        )
        CONSOLE.print(f"seed {seed}: {plan.jobs} jobs, {plan.kills} strikes, {plan.rate:g} jobs a second")
        all_well &= _in_a_folder(lambda folder, bar: _kills(plan, folder, bar), given.keep)
    if given.what in ("power", "all"):
        cuts = Plan(seed, 100 * given.cuts, given.cuts, given.rate, given.quiet, (POWER,), SHORTER)
        CONSOLE.print(f"seed {seed}: {cuts.jobs} jobs, {cuts.kills} power cuts, {cuts.rate:g} jobs a second")
        if (reason := refusal()) is not None:
            CONSOLE.print(f"power cuts are left out: {reason}")
            all_well &= given.what == "all"
        else:
            all_well &= _in_a_folder(lambda folder, bar: _kills(cuts, folder, bar), given.keep)
    if given.what in ("backlog", "all"):
        jobs = (given.jobs if given.what == "backlog" and given.jobs else 10_000) // 3 * 3
        CONSOLE.print(f"seed {seed}: a backlog of {jobs} jobs of three tenants")
        all_well &= _in_a_folder(lambda folder, bar: _backlog(seed, jobs, folder, bar), given.keep)
    return 0 if all_well else 1


def _kills(plan: Plan, folder: Path, bar: Bar) -> list[str]:
    result = asyncio.run(run(plan, folder, bar))
    CONSOLE.print(str(result))
    return [str(violation) for violation in result.violations]


def _backlog(seed: int, jobs: int, folder: Path, bar: Bar) -> list[str]:
    async def serve() -> list[str]:
        async with scene(folder, backlog.ENVIRONMENT) as here:
            waiting = await backlog.fill(here, jobs, seed, lambda done: bar("filling", done, jobs))
            here.worker(concurrency=1)
            reader = JournalReader(here.system)
            while len(reader.ended) < len(waiting):
                await reader.catch_up()
                bar("serving", len(reader.ended), len(waiting))
                await asyncio.sleep(0.5)
            found = backlog.problems(waiting, here.executions())
            return found + [str(violation) for violation in await here.violations()]

    found = asyncio.run(serve())
    for line in found[:50]:
        CONSOLE.print(line)
    CONSOLE.print(f"{len(found)} problems with the order")
    return found


def _in_a_folder(work: Callable[[Path, Bar], list[str]], keep: bool) -> bool:
    """Do `work` in a folder of its own with a bar a phase; whether it found nothing."""
    folder = Path(tempfile.mkdtemp(prefix="daybook-faults-"))
    columns = (TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    found: list[str] | None = None
    try:
        with Progress(*columns, console=CONSOLE) as progress:
            bars = {}

            def bar(phase: str, done: int, total: int) -> None:
                if phase not in bars:
                    bars[phase] = progress.add_task(phase, total=total)
                progress.update(bars[phase], completed=done, total=total)

            found = work(folder, bar)
    finally:
        if found == [] and not keep:
            shutil.rmtree(folder)
        else:
            CONSOLE.print(f"everything is in {folder}")
    return not found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("what", nargs="?", choices=("kills", "power", "backlog", "all"), default="all")
    parser.add_argument("--seed", type=int, help="of load and strikes; a fresh one when it is left out")
    parser.add_argument("--jobs", type=int, help="6000 for the kills, 10000 for the backlog")
    parser.add_argument("--strikes", type=int, default=60, help="13 strike every role once")
    parser.add_argument("--cuts", type=int, default=12, help="of power")
    parser.add_argument("--rate", type=float, default=40.0, help="submissions a second")
    parser.add_argument("--quiet", type=float, default=180.0, help="seconds in which all jobs must end")
    parser.add_argument(
        "--workers", choices=("native", "sdk"), default="native", help="who works under kills"
    )
    parser.add_argument("--short-leases", action="store_true", help="find lost workers within seconds")
    parser.add_argument("--keep", action="store_true", help="keep the folder also when all is well")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
