"""The folder `<data>/run`: who holds the data, which processes run, which of them serve."""

import fcntl
import json
import logging
import os
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from daybook.supervisor.errors import AlreadyRuns

log = logging.getLogger(__name__)

GOING_SECONDS = 3.0
"""How long processes of a killed supervisor get to end by themselves before they are killed."""


class RunFolder:
    """Held from `hold` to `release`, or to the end of the process, however it ends."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.path = data / "run"
        self._lock: int | None = None

    def hold(self) -> None:
        """Take the data folder for this process alone, and clean up after one that crashed.

        Raises AlreadyRuns.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.path / "daybook.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(lock, 32).decode(errors="replace") or "unknown"
            os.close(lock)
            raise AlreadyRuns(str(self.data), holder) from None
        os.ftruncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        self._lock = lock
        self._end_leftovers()

    def release(self) -> None:
        """Give the folder back. The lock file stays: removing it would let two processes hold two of them."""
        self._remove_files()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def started(self, name: str, pid: int) -> None:
        """Remember a child, so that the next supervisor knows it should this one be killed."""
        try:
            born = psutil.Process(pid).create_time()
        except psutil.NoSuchProcess:
            return  # it ended at once
        self._write(f"{name}.pid", json.dumps({"pid": pid, "born": born}))

    def ended(self, name: str) -> None:
        """Forget a child."""
        for suffix in ("pid", "ready"):
            (self.path / f"{name}.{suffix}").unlink(missing_ok=True)

    def serving(self, endpoints: dict[str, str]) -> None:
        """Tell the command line where everything is."""
        self._write("endpoints.json", json.dumps(endpoints))

    def _end_leftovers(self) -> None:
        left = [process for file in self.path.glob("*.pid") if (process := _process_of(file)) is not None]
        end = time.monotonic() + GOING_SECONDS
        while any(_lives(process) for process in left) and time.monotonic() < end:
            time.sleep(0.02)
        for process in left:
            if _lives(process):
                process.kill()
                process.wait(GOING_SECONDS)
        self._remove_files()

    def _remove_files(self) -> None:
        for file in self.path.iterdir():
            if file.name != "daybook.lock":
                file.unlink(missing_ok=True)

    def _write(self, name: str, text: str) -> None:
        draft = self.path / f"{name}.new"
        try:
            draft.write_text(text)
            draft.replace(self.path / name)
        except OSError as error:  # a full disk is no reason to end what runs
            log.warning("cannot write %s: %s", self.path / name, error)


def _process_of(file: Path) -> psutil.Process | None:
    """The process that the file names if it still runs; the birth time tells it from a later one."""
    try:
        noted = json.loads(file.read_text())
        process = psutil.Process(noted["pid"])
        return process if process.create_time() == noted["born"] else None
    except (psutil.NoSuchProcess, ValueError, KeyError, TypeError):
        return None  # it ended, or the crash cut the file short: then the parent pipe alone must do


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
