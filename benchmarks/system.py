"""The system under load: `daybook up` on an empty directory, and one worker process."""

import os
import re
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Literal, Self

import httpx

from benchmarks.errors import LoadFailed, SystemFailed
from benchmarks.http_client import Address, address_of, request
from benchmarks.metering import Meter
from benchmarks.workloads import Workload
from shared.process import PARENT_PIPE

Durability = Literal["always", "default"]
DURABILITIES: tuple[Durability, ...] = ("always", "default")

CLIENT_TOKEN = "dev-client-token"
WORKER_TOKEN = "dev-worker-token"
START_SECONDS = 60
STOP_SECONDS = 20

_READY = re.compile(r"daybook ready http=(\S+) grpc=(\S+) nats=(\S+)")


class System:
    """Started by entering the `with`, stopped and its data deleted by leaving it.

    `durability` is the broker's: "always" syncs before each answer, "default" is the broker's own (each
    two minutes). The data lies in a new directory under `parent`, which should be on a real disk.
    """

    def __init__(
        self,
        durability: Durability,
        parent: Path | None = None,
        env: Mapping[str, str] | None = None,
        *,
        native_worker: bool = True,
    ) -> None:
        """Without `native_worker` there is none until `work` starts one."""
        self.durability = durability
        self._native_worker = native_worker
        self._worker: subprocess.Popen[bytes] | None = None
        self._parent = parent
        self._env = {**os.environ, "DAYBOOK_NATS_SYNC": durability, **(env or {})}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._pipe: int | None = None
        self.data = Path()
        self.url = ""
        self.nats_url = ""

    def __enter__(self) -> Self:
        self.data = Path(tempfile.mkdtemp(prefix="daybook-bench-", dir=self._parent))
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    @property
    def address(self) -> Address:
        return address_of(self.url)

    @property
    def supervisor(self) -> int:
        return self._processes[0].pid

    @property
    def worker(self) -> int:
        """Raises SystemFailed when there is none."""
        if self._worker is None:
            raise SystemFailed("there is no worker")
        return self._worker.pid

    def work(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        """Start this worker in place of the one that there is."""
        if self._worker is not None:
            self._end(self._worker)
            self._processes.remove(self._worker)
        self._worker = self._spawn(list(command), "worker", {**self._env, **env}, stdin=subprocess.PIPE)

    @property
    def nats_password(self) -> str:
        """Of the user `daybook` on the embedded broker."""
        return (self.data / "data" / "nats" / "daybook.password").read_text()

    def meter(self, load: int | None = None) -> Meter:
        """Watches every process of the system, the worker, and the load generator with this id."""
        roots = {self.supervisor: "up", self.worker: "worker"}
        if load is not None:
            roots[load] = "load"
        return Meter(roots)

    def client(self) -> httpx.Client:
        """For what is not measured."""
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {CLIENT_TOKEN}"}, timeout=60
        )

    def submit(self, workload: Workload) -> bytes:
        """The request that submits a job and waits for its end."""
        return request(
            "POST", "/v1/jobs", to=self.address, token=CLIENT_TOKEN, json=workload.job, wait_seconds=30
        )

    def prepare(self, workload: Workload) -> None:
        """Publish the graph, then run one job to its end and look at its output.

        Raises LoadFailed when it is not what it should be.
        """
        with self.client() as client:
            if workload.graph is not None:
                client.put(
                    f"/v1/workflows/{workload.workflow}", json={"graph": workload.graph}
                ).raise_for_status()
            answer = client.post("/v1/jobs", json=workload.job, headers={"Prefer": "wait=30"})
        job: dict[str, Any] = answer.json()
        if answer.status_code != 200 or job.get("status") != "succeeded" or job["output"] != workload.output:
            raise LoadFailed(f"{workload.name} should give {workload.output}: {answer.text[:400]}")

    def settle(self, sequence: int, timeout_seconds: float = 300) -> float:
        """Wait until the read model shows stream sequence `sequence`; answer how many seconds that took.

        Raises SystemFailed when it takes longer than `timeout_seconds`.
        """
        start = monotonic()
        with self.client() as client:
            while monotonic() - start < timeout_seconds:
                # The server waits up to two seconds, then says 503.
                answer = client.get("/v1/jobs", params={"min_sequence": sequence, "limit": 1})
                if answer.status_code == 200:
                    return monotonic() - start
        raise SystemFailed(f"the read model did not reach {sequence} in {timeout_seconds} s: {answer.text}")

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of every process's output."""
        tails = []
        for path in sorted(self.data.glob("*.log")):
            text = path.read_text(errors="replace").splitlines()[-lines:]
            tails.append("\n".join([f"--- {path.name}", *text]))
        return "\n".join(tails)

    def _start(self) -> None:
        command = [sys.executable, "-m", "daybook", "up", "--data", str(self.data / "data")]
        command += ["--http", f"127.0.0.1:{free_port()}", "--grpc", f"127.0.0.1:{free_port()}"]
        # Both end when our end of their pipe closes, so nothing is left behind even when we are killed.
        reading, self._pipe = os.pipe()
        try:
            env = {**self._env, PARENT_PIPE: str(reading)}
            supervisor = self._spawn(command, "up", env, stdout=subprocess.PIPE, pass_fds=[reading])
        finally:
            os.close(reading)
        self.url, _, self.nats_url = self._ready(supervisor)
        if self._native_worker:
            env = {"DAYBOOK_NATS_URL": self.nats_url, "DAYBOOK_WORKER_TOKEN": WORKER_TOKEN}
            self.work([sys.executable, "-m", "benchmarks.worker"], env)

    def _spawn(
        self,
        command: list[str],
        name: str,
        env: Mapping[str, str],
        *,
        stdin: int = subprocess.DEVNULL,
        stdout: int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> subprocess.Popen[bytes]:
        with (self.data / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env=env,
                stdin=stdin,
                stdout=log if stdout is None else stdout,
                stderr=log,
                pass_fds=pass_fds,
            )
        self._processes.append(process)
        return process

    def _ready(self, process: subprocess.Popen[bytes]) -> tuple[str, str, str]:
        assert process.stdout is not None
        stop = monotonic() + START_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while selector.select(max(0.0, stop - monotonic())):
                line = process.stdout.readline()
                if not line:
                    raise SystemFailed(f"daybook up ended with status {process.wait()}\n{self.log_tail()}")
                if found := _READY.search(line.decode()):
                    return found[1], found[2], found[3]
        raise SystemFailed(f"daybook up was not ready in {START_SECONDS} s\n{self.log_tail()}")

    def _stop(self) -> None:
        for process in reversed(self._processes):
            self._end(process)
        self._processes.clear()
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None
        shutil.rmtree(self.data, ignore_errors=True)

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
