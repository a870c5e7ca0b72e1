"""How many requests of this month each client has used: one count for all API processes, kept over restarts.

A request is decided in memory, on the count that was read last and what was used here since; what was used is
added to the common count a moment later, for all requests together. So no request waits for the broker, and a
client may go beyond its month by what arrives within that moment. A crash forgets at most that.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from shared.application.ids import derived_id
from shared.broker.errors import BrokerError, NoAnswer
from shared.broker.subjects import quota

log = logging.getLogger(__name__)

ADD_SECONDS: Final = 0.25
_CLIENTS: Final = UUID("0b2f0c0e-53f5-5d0a-8c1e-7d3f1a9e6c44")


class Numbers(Protocol):
    """Where the common counts are. Both methods raise BrokerError."""

    async def add(self, subject: str, number: int) -> int: ...

    async def value(self, subject: str) -> int: ...


class Quotas:
    """Requests used, by client, in the month that is now."""

    def __init__(self, numbers: Numbers | None, now: Callable[[], datetime]) -> None:
        """`numbers` None keeps and shares nothing."""
        self._numbers, self._now = numbers, now
        self._month = now().strftime("%Y-%m")
        self._common: dict[str, int] = {}
        self._own: dict[str, int] = {}

    async def load(self, clients: Iterable[str]) -> None:
        """Read the common counts of clients. Raises BrokerError."""
        if self._numbers is not None:
            names = list(clients)
            found = await asyncio.gather(
                *(self._numbers.value(subject_of(self._month, name)) for name in names)
            )
            self._common.update(zip(names, found, strict=True))

    def take(self, client: str, limit: int) -> bool:
        """Use one request; False, and nothing is used, when none is left."""
        month = self._now().strftime("%Y-%m")
        if month != self._month:
            self._month, self._common, self._own = month, {}, {}
        own = self._own.get(client, 0)
        if self._common.get(client, 0) + own >= limit:
            return False
        self._own[client] = own + 1
        return True

    async def keep(self) -> None:
        """Add what is used to the common counts, until cancelled; `add` once more then."""
        while True:
            await asyncio.sleep(ADD_SECONDS)
            await self.add()

    async def add(self) -> None:
        """Add what was used here since the last time."""
        if self._numbers is None or not self._own:
            return
        month, used = self._month, dict(self._own)
        said = await asyncio.gather(
            *(self._numbers.add(subject_of(month, client), number) for client, number in used.items()),
            return_exceptions=True,
        )
        for (client, number), total in zip(used.items(), said, strict=True):
            if isinstance(total, NoAnswer):
                log.warning("%d requests of a client are perhaps not counted: %s", number, total)
            elif isinstance(total, BrokerError):
                log.warning("the count of a client's requests is added to later: %s", total)
                continue
            elif isinstance(total, BaseException):
                raise total
            if month != self._month:
                continue  # another month began meanwhile
            self._own[client] -= number
            if not self._own[client]:
                del self._own[client]
            # Unknown outcomes count here until a later answer tells the truth.
            self._common[client] = total if isinstance(total, int) else self._common.get(client, 0) + number


def subject_of(month: str, client: str) -> str:
    """Where a client's requests of a month are counted."""
    return quota(month, derived_id(_CLIENTS, client))
