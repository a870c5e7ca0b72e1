"""Who the processes are for the broker."""

import asyncio
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from shared.broker.errors import BrokerUnavailable
from shared.process import Process
from shared.settings import Settings
from tests.support.nats import NatsServer

pytestmark = pytest.mark.connected

ROLES = ["api", "dispatcher", "scheduler", "projector"]


async def begun(role: str, data: Path, **said: Any) -> None:
    """Run a process until it is ready, or does not come up."""
    settings = Settings(data=data, http="127.0.0.1:0", grpc="127.0.0.1:0", otlp_endpoint="", **said)
    process = Process(role, data)
    running = asyncio.ensure_future(import_module(f"services.{role}.app").main(settings, process))
    async with asyncio.timeout(30):
        while not running.done() and not process.ready_file.exists():
            await asyncio.sleep(0.02)
        process.stopping.set()
        await running


@pytest.mark.parametrize("role", ROLES)
async def test_a_process_takes_the_credentials_in_its_address(
    role: str, nats_server: NatsServer, tmp_path: Path
) -> None:
    address = nats_server.url.replace("://", f"://daybook:{nats_server.password}@")
    await begun(role, tmp_path, nats_url=address)


@pytest.mark.parametrize("role", ROLES)
async def test_a_process_comes_as_the_user_that_is_set(
    role: str, nats_server: NatsServer, tmp_path: Path
) -> None:
    with pytest.raises(BrokerUnavailable):
        await begun(
            role, tmp_path, nats_url=nats_server.url, nats_user="else", nats_password=nats_server.password
        )
