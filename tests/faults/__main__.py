"""The long fault run: `python -m tests.faults`, or `make faults`.

    python -m tests.faults --jobs 6000 --kills 60 --seed 7

It prints the seed first; the same seed gives the same load and the same strikes. The exit status is 0 when
every rule holds, 1 when one does not; then the folder with journal, logs and ledgers is kept and named.
"""

import argparse
import asyncio
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.faults.run import Plan, run


def main() -> int:
    given = _arguments()
    seed = given.seed if given.seed is not None else secrets.randbelow(1_000_000)
    plan = Plan(seed, given.jobs, given.kills, given.rate, given.quiet)
    console = Console()
    console.print(f"seed {seed}: {plan.jobs} jobs, {plan.kills} kills, {plan.rate:g} submissions a second")
    folder = Path(tempfile.mkdtemp(prefix="daybook-faults-"))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bars = {phase: progress.add_task(phase, total=None) for phase in ("submitting", "ending")}

        def tell(phase: str, done: int, total: int) -> None:
            progress.update(bars[phase], completed=done, total=total)

        result = asyncio.run(run(plan, folder, tell))
    console.print(str(result), highlight=False, markup=False)
    if not result.holds or given.keep:
        console.print(f"everything is in {folder}", highlight=False)
    else:
        shutil.rmtree(folder)
    return 0 if result.holds else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seed", type=int, help="of load and strikes; a fresh one when it is left out")
    parser.add_argument("--jobs", type=int, default=6000)
    parser.add_argument("--kills", type=int, default=60, help="at least 7 kill every role once")
    parser.add_argument("--rate", type=float, default=40.0, help="submissions a second")
    parser.add_argument("--quiet", type=float, default=180.0, help="seconds in which all jobs must end")
    parser.add_argument("--keep", action="store_true", help="keep the folder also when all is well")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
