"""What the read model knows of the workers' results, kept at hand for placement."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final, TypeAlias
from uuid import UUID

from services.api.background import forever
from services.api.gateway.members import Member
from services.api.gateway.polls import Room
from shared.application.clock import now_us
from shared.application.reputation import Standing
from shared.domain.worker import worker_id
from shared.readmodels.errors import ReadModelError

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 2.0
"""How old a reputation may be."""

Read: TypeAlias = Callable[[Collection[UUID]], Awaitable[Mapping[UUID, Standing]]]
"""How the workers of these ids stand; those without a result are missing. Raises ReadModelError."""


class Reputations:
    """Looks them up, for all that are here, every two seconds and when somebody comes."""

    def __init__(self, members: Mapping[str, Member], room: Room, read: Read, least: float) -> None:
        self._members, self._room, self._read, self._least = members, room, read, least
        self._ids: dict[str, UUID] = {}
        self._somebody_came = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._looking = forever(self._look_often(), "looking up reputations")

    def came(self) -> None:
        """Somebody is new here."""
        self._somebody_came.set()

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def look(self) -> None:
        """Bring the members up to date; as long as the read model does not answer they stay as they were."""
        ids = {name: self._ids.get(name) or worker_id(name) for name in self._members}
        self._ids = ids
        if not ids:
            return
        try:
            standings = await self._read(ids.values())
        except ReadModelError as problem:
            log.info("the reputation of workers is not looked up: %s", problem)
            return
        now = now_us()
        for name, id_ in ids.items():
            member, standing = self._members.get(name), standings.get(id_)
            reputation = 1.0 if standing is None else standing.at(now)
            if member is None or member.reputation == reputation:
                continue
            was_trusted = member.is_trusted
            member.reputation, member.is_trusted = reputation, reputation >= self._least
            self._room.prefer(name, member.preferences())
            if was_trusted and not member.is_trusted:
                log.warning("worker %s gets no tasks: its reputation fell to %g", name, reputation)

    async def _look_often(self) -> None:
        while True:
            self._somebody_came.clear()
            await self.look()
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._somebody_came.wait()
            except TimeoutError:
                pass
