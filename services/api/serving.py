"""The API's HTTP server: uvicorn, inside a loop and a process that are not its own."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator

import uvicorn

from services.api.connection import Connection, SocketConnection
from services.api.http import Parts, server_of
from shared.process import Process
from shared.settings import Settings, host_port

LARGEST_FRAME = 1024 * 1024
DRAIN_SECONDS = 5
"""How long requests in flight may take once the process is told to stop."""


async def serve(parts: Parts, settings: Settings, process: Process) -> None:
    """Run uvicorn inside this process's loop until it stops; the process, not uvicorn, owns the signals."""
    config = uvicorn.Config(
        server_of(parts),
        http=Connection,
        ws=SocketConnection,
        ws_per_message_deflate=False,
        ws_max_size=LARGEST_FRAME,
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        ssl_ca_certs=settings.tls_ca,
        ssl_cert_reqs=_certificates(settings),
    )
    server = Server(config, process.ready)
    with listening(settings.http) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        stopping = asyncio.create_task(process.stopping.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        parts.leave()
        await parts.follower.close()  # ends the streams, which would otherwise hold the server open
        server.should_exit = True
        stopping.cancel()
        await serving


def _certificates(settings: Settings) -> ssl.VerifyMode:
    """What is asked of clients: a certificate, one if they have one, none."""
    if settings.tls_ca is None:
        return ssl.CERT_NONE
    return ssl.CERT_REQUIRED if settings.tls_require_client_cert else ssl.CERT_OPTIONAL


def listening(address: str) -> socket.socket:
    """A socket that listens at "host:port". Raises OSError when somebody else does."""
    host, port = host_port(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


class Server(uvicorn.Server):
    """uvicorn without its own signal handlers, that says when it serves."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()
