"""The unmodified worker SDK from PyPI as a process of its own, in an environment of its own.

Its pins do not fit ours, so it cannot be a dependency. The environment is built once a machine; say where it
is with DAYBOOK_AVTOMATIKA_SDK to use another.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.support.environments import environment

VERSION = "1.0b20"
HERE = Path(__file__).parent


@cache
def sdk_python() -> Path:
    """The interpreter of an environment that has the SDK; made when there is none yet."""
    name = f"daybook-avtomatika-worker-s3-{VERSION}"
    return environment("DAYBOOK_AVTOMATIKA_SDK", name, f"avtomatika-worker[s3]=={VERSION}") / "python"


@contextmanager
def sdk_worker(url: str, token: str, log: Path, name: str = "probe-1", **settings: str) -> Iterator[int]:
    """A running worker with the skills of skills.py: its process id. `settings` are the SDK's variables."""
    environment = {
        **os.environ,
        "ORCHESTRATOR_URL": url,
        "WORKER_ID": name,
        "WORKER_TOKEN": token,
        "HEARTBEAT_INTERVAL": "0.5",
        "WORKER_HEARTBEAT_COOLDOWN": "0.2",
        "TASK_POLL_TIMEOUT": "2",
        "PROBE_LOG": str(log),
        **settings,
    }
    environment.pop("PYTHONPATH", None)
    with log.with_suffix(".out").open("ab") as out:
        process = subprocess.Popen(
            [str(sdk_python()), str(HERE / "skills.py")], env=environment, stdout=out, stderr=out
        )
    try:
        yield process.pid
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
