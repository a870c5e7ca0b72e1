"""The workers of a run as processes: started, killed and started again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.contract.avtomatika.worker.sdk import sdk_python
from tests.faults.workers import SKILLS
from tests.support.system import ROOT, WORKER_TOKEN, System


class WorkerProcess:
    """A worker that serves a system and writes to the log of executions."""

    def __init__(self, name: str, log: Path, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """`environment` is added to ours. `native_worker` and `sdk_worker` make such a worker."""
        self.name = name
        self.deaths: dict[int, int] = {}
        """When each killed process died, in microseconds since the epoch, by its id."""
        self._command = list(command)
        self._environment = dict(environment)
        self._out = log.with_name(f"{name}.out")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it; it finds the system by itself, whenever that is there."""
        with self._out.open("ab") as out:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    def kill(self) -> int:
        """kill -9; the id of the process that died."""
        process = self._process
        assert process is not None
        process.kill()
        process.wait()
        self.deaths[process.pid] = time.time_ns() // 1000
        return process.pid

    def pause(self) -> None:
        """Stop it as a long garbage collection would."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self, timeout: float = 15.0) -> int:
        """End it in order; its exit status."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    def destroy(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def last_words(self, lines: int = 20) -> str:
        return "\n".join(self._out.read_text(errors="replace").splitlines()[-lines:])

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


def native_worker(
    system: System, name: str, log: Path, concurrency: int = 16, skills: Sequence[str] = SKILLS
) -> WorkerProcess:
    """A `daybook.Worker` with the skills of `tests.faults.workers`, over NATS."""
    command = [sys.executable, "-m", "tests.faults.workers", "--name", name]
    command += ["--nats", system.nats, "--token", WORKER_TOKEN, "--log", str(log)]
    command += ["--concurrency", str(concurrency), "--skills", ",".join(skills)]
    return WorkerProcess(name, log, command, {})


def sdk_worker(system: System, name: str, log: Path) -> WorkerProcess:
    """An unmodified worker of the avtomatika-worker SDK with the skills of `tests.faults.sdk_workers`."""
    settings = {
        "ORCHESTRATOR_URL": system.http,
        "WORKER_ID": name,
        "WORKER_TOKEN": WORKER_TOKEN,
        "EXECUTIONS": str(log),
        "PYTHONPATH": str(ROOT),
        # It would stay away for a minute after a server that was not there.
        "HEARTBEAT_INTERVAL": "1",
        "POLL_BACKOFF_MAX": "2",
        "REGISTRATION_RETRY_MAX_DELAY": "2",
    }
    return WorkerProcess(name, log, [str(sdk_python()), "-m", "tests.faults.sdk_workers"], settings)
