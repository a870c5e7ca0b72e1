"""`daybook up`: every process of the system in the foreground, from the ready line to SIGTERM."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from daybook.supervisor.errors import PortTaken, SupervisorError
from daybook.supervisor.keeper import Keeper
from daybook.supervisor.programs import Broker, Service
from daybook.supervisor.run_folder import RunFolder
from shared.broker.embedded import USER, EmbeddedServer
from shared.logs import log_to_stderr
from shared.process import follow_parent
from shared.settings import Settings, host_port, without_settings

log = logging.getLogger(__name__)

SERVICES = {name: ("-m", f"services.{name}") for name in ("api", "scheduler", "dispatcher", "projector")}
"""Name and arguments to Python, in the order in which they stop; nats-server is the last."""

ORPHAN_SECONDS = 12.0


def up(
    settings: Settings, *, nats_port: int | None = None, services: Mapping[str, Sequence[str]] = SERVICES
) -> int:
    """Run everything until SIGTERM or SIGINT; the exit status: 0 when told to stop, 1 when it cannot run.

    `nats_port` None takes the last start's port, or a free one. `services` replaces the processes, for tests.
    """
    log_to_stderr(
        "up",
        level=settings.log_level,
        style="json" if settings.profile == "production" else "text",
        secrets=settings.secrets(),
    )
    folder = RunFolder(settings.data.resolve())
    try:
        folder.hold()
        try:
            asyncio.run(_Up(settings, folder, nats_port, services).run())
        finally:
            folder.release()
    except SupervisorError as error:
        print(f"daybook: {error}", file=sys.stderr)
        return 1
    return 0


class _Up:
    def __init__(
        self,
        settings: Settings,
        folder: RunFolder,
        nats_port: int | None,
        services: Mapping[str, Sequence[str]],
    ) -> None:
        self._services = services
        self._folder = folder
        self._data = folder.data
        http = _free(settings.http, "--http")
        grpc = _free(settings.grpc, "--grpc")
        self._server = None if settings.nats_url else _server(settings, self._data, nats_port)
        own: dict[str, str] = {}
        if self._server is not None:
            password = self._server.password
            own = {"nats_url": self._server.url, "nats_user": USER, "nats_password": password}
        blueprints = settings.blueprints.resolve() if settings.blueprints else None
        self._settings = settings.model_copy(
            update={"data": self._data, "http": http, "grpc": grpc, "blueprints": blueprints, **own}
        )

    async def run(self) -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, stopping.set)
        follow_parent(partial(loop.call_soon_threadsafe, stopping.set), ORPHAN_SECONDS)
        keeper = Keeper(self._folder)
        reading, writing = os.pipe()  # nobody writes: our end closes it, and that is the message
        try:
            await self._supervise(keeper, reading, stopping)
        finally:
            keeper.kill()
            os.close(reading)
            os.close(writing)

    async def _supervise(self, keeper: Keeper, pipe: int, stopping: asyncio.Event) -> None:
        told = asyncio.create_task(stopping.wait())
        starting = asyncio.create_task(self._start(keeper, pipe))
        waiting: set[asyncio.Future[Any]] = {told, starting, keeper.gave_up}
        try:
            while not told.done():
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()  # raises GaveUp
        finally:
            told.cancel()
            starting.cancel()
            log.info("stopping")
            await keeper.stop([*self._services, "nats"])
        log.info("stopped")

    async def _start(self, keeper: Keeper, pipe: int) -> None:
        if self._server is not None:
            keeper.keep(Broker(self._server))
            await keeper.serving(["nats"])
        environment = {**without_settings(os.environ), **self._settings.environment()}
        for name, command in self._services.items():
            keeper.keep(Service(name, command, environment, self._data, pipe))
        await keeper.serving(list(self._services))
        self._announce()

    def _announce(self) -> None:
        scheme = "http" if self._settings.tls_cert is None else "https"
        http, grpc, nats = f"{scheme}://{self._settings.http}", self._settings.grpc, self._settings.nats_url
        self._folder.serving({"http": http, "grpc": grpc, "nats": nats})
        if self._settings.profile == "dev":
            log.info(
                "dev profile, credentials that everybody knows: client token %s, worker token %s, "
                "user %s with password %s, API key %s",
                self._settings.client_token,
                self._settings.worker_token,
                self._settings.admin_user,
                self._settings.admin_password,
                self._settings.api_key,
            )
        print(f"daybook ready http={http} grpc={grpc} nats={nats}", flush=True)


def _server(settings: Settings, data: Path, port: int | None) -> EmbeddedServer:
    if port:
        _free(f"127.0.0.1:{port}", "--nats-port")
    return EmbeddedServer(
        data / "nats",
        worker_token=settings.worker_token,
        password=settings.nats_password or None,
        port=port or None,
        sync=settings.nats_sync,
    )


def _free(address: str, option: str) -> str:
    """The address, its port 0 replaced by a free one. Raises PortTaken."""
    host, port = host_port(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortTaken(option, address, error.strerror or str(error)) from error
        taken: int = probe.getsockname()[1]
    return f"{address.rpartition(':')[0]}:{taken}"
