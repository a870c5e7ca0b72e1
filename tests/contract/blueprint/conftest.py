"""A folder of blueprints, and a host of its handlers."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.blueprints.host import HandlerHost
from tests.contract.blueprint.orders import CODE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "order.py").write_text(CODE)
    (tmp_path / "_private.py").write_text("raise RuntimeError")
    return tmp_path


@pytest.fixture
async def host(folder: Path) -> AsyncIterator[HandlerHost]:
    host = HandlerHost(folder, time_limit_seconds=5.0)
    yield host
    await host.stop()
