"""A real nats-server for tests: the fixture `nats_server`, and connections to it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared.broker.connection import Connection, connect, disconnect
from shared.broker.embedded import EmbeddedServer, Sync
from shared.broker.publisher import Publisher
from shared.broker.streams import declare_streams
from shared.broker.subjects import WORKER_INBOX

WORKER_TOKEN = "worker-token-of-tests"


@dataclass
class NatsServer:
    """A running server with our streams, and the connections that the test made to it."""

    server: EmbeddedServer
    connections: list[Connection] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The address without credentials."""
        return self.server.url

    @property
    def password(self) -> str:
        """The password of the user `daybook`."""
        return self.server.password

    @property
    def worker_token(self) -> str:
        """The password of the user `worker`."""
        return self.server.worker_token

    async def connect(self, name: str = "test") -> Connection:
        """A connection with all rights; closed at the end of the test."""
        return self._keep(await connect(self.url, name=name, user="daybook", password=self.password))

    async def connect_worker(self, name: str = "worker") -> Connection:
        """A connection with the rights of a worker; closed at the end of the test."""
        return self._keep(
            await connect(
                self.url, name=name, user="worker", password=self.worker_token, inbox_prefix=WORKER_INBOX
            )
        )

    async def restart(self, *, kill: bool = True) -> None:
        """End the server (as a crash would, unless `kill` is False) and start it again on its data."""
        if kill:
            self.server.kill()
        else:
            await self.server.stop()
        self.server.start()
        await self.server.wait_ready()

    async def close(self) -> None:
        """Disconnect, and end the server."""
        for connection in self.connections:
            await disconnect(connection)
        self.server.kill()

    def _keep(self, connection: Connection) -> Connection:
        self.connections.append(connection)
        return connection


async def settle(publisher: Publisher) -> None:
    """Return when the server has acted on all that was published so far."""
    await asyncio.sleep(0)  # a publisher writes what it gathered in the next turn of the loop
    await publisher.connection.settle()


async def serve(data: Path, sync: Sync = "default") -> AsyncIterator[NatsServer]:
    """The life of one server: started, streams declared, and in the end everything stopped."""
    server = EmbeddedServer(data, worker_token=WORKER_TOKEN, sync=sync)
    nats_server = NatsServer(server)
    server.start()
    try:
        await server.wait_ready()
        await declare_streams(await nats_server.connect("declare"))
        yield nats_server
    finally:
        await nats_server.close()


@pytest.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """A real server on a free port with our streams; not synced, which is faster."""
    async for nats_server in serve(tmp_path / "nats"):
        yield nats_server


@pytest.fixture
async def synced_nats_server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """The same with `sync_interval: always`, as in production."""
    async for nats_server in serve(tmp_path / "nats", "always"):
        yield nats_server
