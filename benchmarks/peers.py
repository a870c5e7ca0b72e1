"""Another system under the same load, in the same run: Restate, by its own script.

The script (`restate_server.py`) is not part of this project. It is told where it is, starts Restate's
server and one worker, drives them with 64 jobs in flight and prints a line of JSON a workload. Here those
lines become rows of the same table. Its W3 runs ten durable steps in one handler; `W3 child calls` runs
ten invocations, as Daybook's W3 runs ten worker tasks.
"""

import os
import signal
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec
import orjson

from benchmarks.errors import NotInstalled, SystemFailed
from benchmarks.percentiles import Latency
from benchmarks.results import LoadRun

SCRIPT = "restate_server.py"
PYTHON = Path("v-restate/bin/python")
RESTATE = "restate"
SYNCED = "always"

_WANTED = {"W1": ("W1",), "W2": ("W2",), "W3": ("W3", "W3c"), "latency": ("lat",)}
_SCENARIO = {"W1": "W1", "W2": "W2", "W3": "W3", "W3-child-calls": "W3", "W1-latency": "latency"}
_VARIANT = {"W3-child-calls": "restate child calls"}
_TIME_LIMIT_SECONDS = 600


class Peer(msgspec.Struct, frozen=True):
    """Where the peer's script lies, and where its server and interpreter are installed."""

    script: Path
    installed: Path


def find(scripts: Path, installed: Path | None) -> Peer:
    """The peer whose script is in `scripts`. `installed` None: in the same place.

    Raises NotInstalled.
    """
    peer = Peer((scripts / SCRIPT).absolute(), (installed or scripts).absolute())
    if not peer.script.is_file():
        raise NotInstalled(f"no {SCRIPT} in {scripts}")
    if not (peer.installed / PYTHON).exists():
        raise NotInstalled(f"no {PYTHON} in {peer.installed}: PEERS_DIR tells where the peers are installed")
    return peer


def measure(peer: Peer, scenarios: Collection[str], seconds: float) -> list[LoadRun]:
    """One start of the peer, all scenarios that it knows. Raises SystemFailed."""
    wanted = [name for scenario in scenarios for name in _WANTED.get(scenario, ())]
    if not wanted:
        return []
    env = {
        **os.environ,
        "PEERS_DIR": str(peer.installed),
        "NAME": "restate-beside-daybook",
        "ONLY": ",".join(wanted),
        "RUN_S": str(seconds),
        # Of two runs it reports the better: the first is its warm-up.
        "REPEATS": "2",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [str(peer.installed / PYTHON), str(peer.script)]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, errors = process.communicate(timeout=_TIME_LIMIT_SECONDS)
    except BaseException:
        process.send_signal(signal.SIGTERM)  # it stops its own processes
        process.wait()
        raise
    if process.returncode:
        raise SystemFailed(f"{SCRIPT} ended with status {process.returncode}: {errors[-1000:]}")
    return rows(out.splitlines())


def rows(lines: Collection[str]) -> list[LoadRun]:
    """The load runs among the peer's lines. Lines about other things (its cold start) are left out."""
    found = []
    for line in lines:
        told: Mapping[str, Any] = orjson.loads(line)
        scenario = _SCENARIO.get(told["w"])
        if scenario is not None:
            found.append(_row(scenario, told))
    return found


def _row(scenario: str, told: Mapping[str, Any]) -> LoadRun:
    system = _VARIANT.get(told["w"], RESTATE)
    if scenario == "latency":
        seen = Latency(told["n"], told["p50_ms"], told["p95_ms"], told["p99_ms"], told["max_ms"])
        seconds = told["n"] / 10  # it asks ten times a second
        cpu = {"other": told["cpu_cores"] * seconds * 1e6 / told["n"]}
        return LoadRun(system, SYNCED, scenario, told["n"], seconds, cpu, told["foreign_cpu"], seen)
    cpu = {"other": told["cpu_ms_job"] * 1e3, "load": told["client_cpu_ms_job"] * 1e3}
    return LoadRun(system, SYNCED, scenario, told["jobs"], told["secs"], cpu, told["foreign_cpu"])
