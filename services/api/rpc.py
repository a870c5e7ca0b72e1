"""The gRPC listener of the API process: health and reflection, which every gRPC service here has beside it.

`grpc.health.v1.Health` answers what `/v1/health/ready` answers: SERVING when every check of readiness holds.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

Ready = Callable[[], Awaitable[bool]]
"""Whether the process can do its work now. Never raises."""

LOOK_SECONDS: Final = 2.0
"""Between two looks at readiness while somebody watches it."""
GRACE_SECONDS: Final = 2.0
"""How long calls in flight may take once the process is told to stop."""

SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING


class Service(NamedTuple):
    """A gRPC service to serve: its full name, and what adds its servicer to a server."""

    name: str
    add: Callable[[grpc.aio.Server], None]


class Health(health.aio.HealthServicer):
    """The standard health service; each question looks anew, and so does every watcher's clock."""

    def __init__(self, ready: Ready, names: Sequence[str]) -> None:
        super().__init__()
        self._is_ready, self._names = ready, ("", *names)

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 (the protocol's name)
        await self._look()
        return await super().Check(request, context)

    async def Watch(self, request: Any, context: Any) -> None:  # noqa: N802 (the protocol's name)
        looking = asyncio.create_task(self._look_on())
        try:
            await super().Watch(request, context)
        finally:
            looking.cancel()

    async def _look_on(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        status = SERVING if await self._is_ready() else NOT_SERVING
        for name in self._names:
            await self.set(name, status)


@asynccontextmanager
async def rpc(address: str, ready: Ready, services: Sequence[Service] = ()) -> AsyncIterator[int]:
    """Serve gRPC at "host:port" inside the block; gives the port. Raises OSError when it is taken."""
    # Without this option two systems could share one port, and clients would meet either.
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    names = [service.name for service in services]
    for service in services:
        service.add(server)
    status = Health(ready, names)
    health_pb2_grpc.add_HealthServicer_to_server(status, server)
    reflection.enable_server_reflection((*names, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"gRPC cannot listen on {address}: {error}") from error
    await server.start()
    try:
        yield port
    finally:
        await status.enter_graceful_shutdown()
        await server.stop(GRACE_SECONDS)
