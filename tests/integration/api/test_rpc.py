"""The gRPC listener, asked by a real client."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services.api.rpc import NOT_SERVING, SERVING, rpc
from tests.support.system import System


class Switch:
    """A system that is ready or not."""

    ready = True

    async def __call__(self) -> bool:
        return self.ready


@pytest.fixture
async def switch() -> Switch:
    return Switch()


@pytest.fixture
async def channel(switch: Switch) -> AsyncIterator[grpc.aio.Channel]:
    async with rpc("127.0.0.1:0", switch) as port, grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel


async def check(channel: grpc.aio.Channel, service: str = "") -> Any:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=30)
    return answer.status


async def test_health_is_what_readiness_is_at_the_moment(channel: grpc.aio.Channel, switch: Switch) -> None:
    assert await check(channel) == SERVING
    switch.ready = False
    assert await check(channel) == NOT_SERVING
    switch.ready = True
    assert await check(channel) == SERVING


async def test_an_unknown_service_is_not_found(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await check(channel, "no.such.Service")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_whoever_watches_hears_of_a_change(channel: grpc.aio.Channel, switch: Switch) -> None:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=20)
    assert (await watch.read()).status == SERVING
    switch.ready = False
    assert (await watch.read()).status == NOT_SERVING
    watch.cancel()


async def test_a_client_can_ask_which_services_there_are(channel: grpc.aio.Channel) -> None:
    untyped: Any = channel
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(untyped)
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    answers = [answer async for answer in stub.ServerReflectionInfo(asked, timeout=30)]
    listed = {service.name for service in answers[0].list_services_response.service}
    assert listed == {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


async def test_a_port_that_is_taken_is_refused() -> None:
    async with rpc("127.0.0.1:0", Switch()) as port:
        with pytest.raises(OSError, match=str(port)):
            async with rpc(f"127.0.0.1:{port}", Switch()):
                pass


@pytest.mark.connected
@pytest.mark.slow
async def test_the_address_that_the_ready_line_names_serves(daybook_system: System) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{daybook_system.grpc_port}") as channel:
        assert await check(channel) == SERVING
        async with asyncio.timeout(40):
            while not await goes_down(channel, daybook_system):
                pass
        async with asyncio.timeout(40):
            while await check(channel) != SERVING:
                await asyncio.sleep(0.1)


async def goes_down(channel: grpc.aio.Channel, system: System) -> bool:
    """Kill the broker; whether that was seen. It is back in no time, and a look may come too late."""
    await system.kill("nats")
    looks_until = asyncio.get_running_loop().time() + 2
    while asyncio.get_running_loop().time() < looks_until:
        if await check(channel) != SERVING:
            return True
        await asyncio.sleep(0.02)
    return False
