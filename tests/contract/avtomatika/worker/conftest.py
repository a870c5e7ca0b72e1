"""A whole system whose workers speak HTTP, shared by the tests of a module."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.contract.avtomatika.worker.world import World
from tests.support.system import System

LEASE_SECONDS = 4.0
"""Short, so that what is lost comes back soon; and long for a machine that stands still for a moment."""
OWN_TOKENS = """
[own-1]
token = "own-token-of-own-1"
["cpu-*"]
token_hash = "{hashed}"
[own-3]
token = "schlüssel-à"
"""


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[System, Path]]:
    """It serves; leases are short. With the file of tokens."""
    folder = tmp_path_factory.mktemp("system")
    tokens = folder / "workers.toml"
    tokens.write_text(OWN_TOKENS.format(hashed="c" * 64), "utf-8")
    environment = {"DAYBOOK_LEASE_SECONDS": f"{LEASE_SECONDS:g}", "WORKERS_CONFIG_PATH": str(tokens)}
    system = System(folder / "data", environment)
    try:
        asyncio.run(system.start())
        yield system, tokens
        asyncio.run(system.stop())
    finally:
        system.destroy()


@pytest.fixture
async def world(serving: tuple[System, Path], tmp_path: Path) -> AsyncIterator[World]:
    """The system as one test uses it."""
    async with World(serving[0], tmp_path, serving[1]) as world:
        yield world
