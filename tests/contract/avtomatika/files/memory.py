"""How much a process grows while files pass through it."""

import asyncio
import os
from collections.abc import AsyncIterator

import psutil  # type: ignore[import-untyped]  # it has no types

MIB = 1024 * 1024
SIZE = int(os.environ.get("DAYBOOK_TEST_FILE_MIB", "128")) * MIB
"""How large a file passes through; more shows more, and takes longer."""
GROWTH_BYTES = 64 * MIB
LOOK_SECONDS = 0.02


class Growth:
    """The most memory that a process had, over what it had when this was entered."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)

    async def __aenter__(self) -> "Growth":
        self._before = self._highest = self._process.memory_info().rss
        self._looking = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._looking.cancel()
        self._highest = max(self._highest, self._process.memory_info().rss)

    @property
    def bytes(self) -> int:
        return int(self._highest - self._before)

    async def _look(self) -> None:
        while True:
            self._highest = max(self._highest, self._process.memory_info().rss)
            await asyncio.sleep(LOOK_SECONDS)


async def body(size: int) -> AsyncIterator[bytes]:
    """So many bytes that cannot be compressed, a mebibyte at a time."""
    block = os.urandom(MIB)
    for _ in range(size // MIB):
        yield block
