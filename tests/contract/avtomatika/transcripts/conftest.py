"""One system for all transcripts: signatures demanded, as the recorded server did."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from tests.contract.avtomatika.transcripts.stage import BLUEPRINTS, CLIENTS, WORKERS, Stage
from tests.support.system import System


@pytest.fixture(scope="package")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("transcripts")
    (folder / "blueprints").mkdir()
    (folder / "blueprints" / "recorded.py").write_text(BLUEPRINTS)
    (folder / "clients.toml").write_text(CLIENTS)
    (folder / "workers.toml").write_text(WORKERS)
    environment = {
        "CLIENTS_CONFIG_PATH": str(folder / "clients.toml"),
        "WORKERS_CONFIG_PATH": str(folder / "workers.toml"),
        "WORKER_SIGNATURES_REQUIRED": "true",
        "WORKER_POLL_TIMEOUT_SECONDS": "1",
    }
    system = System(folder / "data", environment, "--blueprints", str(folder / "blueprints"))
    try:
        asyncio.run(system.start(90))
        yield system
        asyncio.run(system.stop(60))
    finally:
        system.destroy()


@pytest.fixture
async def stage(system: System) -> AsyncIterator[Stage]:
    async with httpx.AsyncClient(base_url=system.http, timeout=60) as http:
        yield Stage(system, http)
