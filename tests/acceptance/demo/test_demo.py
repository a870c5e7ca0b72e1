"""`python -m examples.demo`, which is `make demo` after its setup: the first thing that a newcomer runs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

ROOT = Path(__file__).resolve().parents[3]

pytestmark = pytest.mark.connected


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    """Where the demonstration makes its folder; nothing may be there, or run from there, in the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    yield folder
    for process in _processes(folder):
        with suppress(psutil.Error):  # it ended with another
            process.kill()


def _demo(temporary: Path, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "examples.demo"],
        cwd=ROOT,
        env={**os.environ, **environment, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_it_runs_a_job_and_leaves_nothing_behind(temporary: Path) -> None:
    # What this shell is set up for must not get in its way.
    process = _demo(temporary, DAYBOOK_PROFILE="production", DAYBOOK_HTTP="127.0.0.1:1", CLIENT_TOKEN="x")
    printed, _ = process.communicate(timeout=100)
    assert process.returncode == 0, printed
    assert "The job has succeeded" in printed
    assert "Four fables" in printed
    for event in ("JobAccepted", "TaskReleased", "TaskSucceeded", "JobSucceeded"):
        assert event in printed.partition("Its history")[2]
    assert "Where to look next" in printed
    assert list(temporary.iterdir()) == []
    assert _processes(temporary) == []


def test_a_failure_shows_the_logs_and_is_status_1(temporary: Path, tmp_path: Path) -> None:
    # A package that hides a service: its process fails, and says so in the log.
    process = _demo(temporary, PYTHONPATH=str(_broken(tmp_path)))
    printed, _ = process.communicate(timeout=100)
    assert process.returncode == 1, printed
    assert "The demonstration failed" in printed
    assert "broken on purpose" in printed
    assert list(temporary.iterdir()) == []
    assert _processes(temporary) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing_behind(temporary: Path, number: int) -> None:
    process = _demo(temporary)
    _until_running(temporary)
    process.send_signal(number)
    process.communicate(timeout=100)
    assert process.returncode != 0
    assert list(temporary.iterdir()) == []
    assert _processes(temporary) == []


def test_killed_it_leaves_no_process_behind(temporary: Path) -> None:
    process = _demo(temporary)
    _until_running(temporary)
    process.kill()
    process.communicate()
    end = time.monotonic() + 60
    while _processes(temporary):
        assert time.monotonic() < end
        time.sleep(0.05)


def _broken(folder: Path) -> Path:
    """A place whose `sitecustomize` breaks the projector."""
    place = folder / "broken"
    place.mkdir()
    (place / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'services.projector' in ' '.join(sys.orig_argv):\n"
        "    sys.stderr.write('broken on purpose\\n')\n"
        "    import os\n"
        "    os._exit(3)\n"
    )
    return place


def _until_running(temporary: Path) -> None:
    """Wait until the broker runs: there is something to leave behind, and the job is not over yet."""
    end = time.monotonic() + 90
    while not any("nats-server" in _command(process) for process in _processes(temporary)):
        assert time.monotonic() < end
        time.sleep(0.02)


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has ended meanwhile
        return ""


def _processes(temporary: Path) -> list[psutil.Process]:
    """Every living process with the folder in its environment or command line, the demonstration left out."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get("TMPDIR") == str(temporary) or str(temporary) in " ".join(
                process.cmdline()
            )
            if ours and process.status() != psutil.STATUS_ZOMBIE and "examples.demo" not in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found
