"""The demonstration (`make demo`): all processes, a worker, one job from submit to history, then nothing.

Everything lies in a temporary folder and on free ports, so that it disturbs nothing that runs already.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.markdown import Markdown
from rich.panel import Panel
from rich.text import Text

from daybook import Client
from daybook.cli import show
from daybook.cli.jobs import gist, history_table
from daybook.errors import DaybookError
from examples.text_report import GRAPH, INPUT, WORKFLOW
from shared.settings import without_settings

ROOT = Path(__file__).resolve().parents[1]
WORKER = "examples.text_report:worker"
CLIENT_TOKEN, WORKER_TOKEN = "dev-client-token", "dev-worker-token"
PATIENCE_SECONDS = 120
STOP_SECONDS = 15
TAIL_LINES = 30

console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


class DemoFailed(Exception):
    """Something did not happen in time, or ended when it should not."""


class Demo:
    """The processes of the demonstration. Leaving the `with` stops them, the last started first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes = ExitStack()

    def __enter__(self) -> "Demo":
        # The children hold the reading end: when this process goes, however it goes, so do they.
        self._reading, self._writing = os.pipe()
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.close()
        os.close(self._reading)
        os.close(self._writing)

    def up(self) -> dict[str, str]:
        """Start the system; its addresses by name: http, grpc, nats."""
        addresses = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
        process = self._start("up", "up", "--data", str(self._folder / "data"), *addresses)
        assert process.stdout is not None
        for line in process.stdout:
            if match := re.match(r"daybook ready http=(\S+) grpc=(\S+) nats=(\S+)", line):
                return dict(zip(("http", "grpc", "nats"), match.groups(), strict=True))
        raise DemoFailed(f"daybook up ended with status {process.wait()}")

    def worker(self, nats: str) -> None:
        """Start a worker as a process of its own."""
        self._start("worker", "worker", "run", WORKER, "--app-dir", str(ROOT), DAYBOOK_NATS_URL=nats)

    def log_tails(self) -> Iterator[tuple[str, str]]:
        """The name and the last lines of each log."""
        for log in sorted((*self._folder.glob("*.log"), *self._folder.glob("data/nats/*.log"))):
            yield log.name, "\n".join(log.read_text(errors="replace").splitlines()[-TAIL_LINES:])

    def _start(self, name: str, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        return self._processes.enter_context(
            _process(name, arguments, environment, self._folder, self._reading)
        )


@contextmanager
def _process(
    name: str, arguments: tuple[str, ...], environment: Mapping[str, str], folder: Path, pipe: int
) -> Iterator["subprocess.Popen[str]"]:
    """`daybook ARGUMENTS` as a process that lives as long as the block; its errors go to NAME.log."""
    # The demonstration is of the dev profile, whatever this shell is set up for.
    inherited = without_settings(os.environ)
    own = {"DAYBOOK_PARENT_PIPE": str(pipe), "DAYBOOK_WORKER_TOKEN": WORKER_TOKEN, **environment}
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "daybook", *arguments],
            cwd=ROOT,
            env={**inherited, **own},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            pass_fds=[pipe],
            start_new_session=True,  # Ctrl-C is ours; we stop them in order
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def main() -> int:
    """Run the demonstration; the exit status."""
    signal.signal(signal.SIGTERM, _interrupted)
    signal.signal(signal.SIGALRM, _too_slow)
    signal.alarm(PATIENCE_SECONDS)  # whatever hangs, this ends
    with tempfile.TemporaryDirectory(prefix="daybook-demo-") as name:
        folder = Path(name)
        with Demo(folder) as demo:
            try:
                _show(demo)
            except (DemoFailed, DaybookError) as error:
                console.print(show.styled(f"\nThe demonstration failed: {error}", "bold red"))
                for log, tail in demo.log_tails():
                    lines = Text("\n").join(show.styled(line) for line in tail.splitlines())
                    console.print(Panel(lines, title=log, title_align="left"))
                return 1
        _where_next()
    return 0


def _show(demo: Demo) -> None:
    started = time.monotonic()
    _say("Starting nats-server, api, dispatcher, scheduler and projector …")
    at = demo.up()
    _say(f"They serve, after {time.monotonic() - started:.1f} s, on {at['http']}. Starting a worker …")
    demo.worker(at["nats"])
    with Client(at["http"], CLIENT_TOKEN) as client:
        skills = _skills(client)
        _say(f"It offers the skills {', '.join(skills)}.")
        workflow = client.publish_workflow(WORKFLOW, GRAPH)
        _say(f"Published the workflow {workflow.name}, version {workflow.version}.")
        taken = client.submit(WORKFLOW, INPUT)
        _say(f"Submitted job {taken.job_id}. Following it:")
        for event in client.watch(taken.job_id):
            line = show.styled(
                f"  {show.clock(event.at)}  {event.type:<20} ", "bold" if event.ends_job else ""
            )
            console.print(
                line.append_text(show.styled(gist(event), "dim")), no_wrap=True, overflow="ellipsis"
            )
            sequence = event.sequence
        job = client.get(taken.job_id, min_sequence=sequence)
        console.print()
        took = show.lasted(job.created_at, job.ended_at)
        console.print(
            show.styled("The job has ").append_text(show.status(job.status)), show.styled(f"in {took}.")
        )
        if not job.succeeded:
            raise DemoFailed(f"the job ended as {job.status}: {job.error}")
        console.print(Panel(Markdown(job.output["report"]), title="Its output", title_align="left"))
        _say("Its history, which is all that is stored; everything else is derived from it:")
        console.print(history_table(client.history(taken.job_id)))


def _skills(client: Client) -> list[str]:
    """The skills of the first worker that is online."""
    while True:  # SIGALRM bounds it
        for worker in client.workers():
            if worker.status == "online":
                return worker.skills
        time.sleep(0.05)


def _where_next() -> None:
    command = Path(sys.executable).with_name("daybook")
    shown = command.relative_to(Path.cwd()) if command.is_relative_to(Path.cwd()) else command
    tool = shlex.quote(str(shown))
    python = shlex.quote(str(shown.with_name("python")))
    lines = [
        ("start a system that stays", f"{tool} up"),
        ("run this worker on it", f"{tool} worker run {WORKER}"),
        (
            "submit this job to it",
            f"DAYBOOK_CLIENT_TOKEN={CLIENT_TOKEN} {python} -m examples.text_report submit",
        ),
        ("see all jobs, one, its history", f"{tool} list | get JOB | history JOB"),
        ("see whether all is well", f"{tool} doctor"),
        ("the HTTP API, described", "http://127.0.0.1:8000/openapi.json"),
        ("the code of this worker", "examples/text_report.py"),
        ("how it works", "docs/architecture.md"),
    ]
    console.print()
    _say("Everything has stopped. Where to look next:")
    console.print(show.facts(lines))


def _say(text: str) -> None:
    console.print(show.styled(text))


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    sys.exit(143)


def _too_slow(_number: int, _frame: FrameType | None) -> None:
    raise DemoFailed(f"it took longer than {PATIENCE_SECONDS} s")


if __name__ == "__main__":
    sys.exit(main())
