"""One at a time for each job: what waits for its turn costs nothing while it is not there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID


class Turns:
    """Locks by job, kept only while somebody holds or awaits them."""

    def __init__(self) -> None:
        self._locks: dict[UUID, tuple[asyncio.Lock, int]] = {}

    def __len__(self) -> int:
        return len(self._locks)

    @asynccontextmanager
    async def of(self, job: UUID) -> AsyncIterator[None]:
        """Inside, nobody else is inside for the same job. Turns come in the order of asking."""
        lock, users = self._locks.get(job, (None, 0))
        lock = lock or asyncio.Lock()
        self._locks[job] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            _, users = self._locks[job]
            if users == 1:
                del self._locks[job]
            else:
                self._locks[job] = (lock, users - 1)
