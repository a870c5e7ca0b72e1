"""What other processes tell the API all the time: the dispatcher its lanes, the projector its position."""

import logging
from collections.abc import Callable
from typing import Final

import msgspec

from services.api.lanes import Lanes, LanesNews
from shared.broker import subjects
from shared.broker.connection import Connection

log = logging.getLogger(__name__)


async def hear_lanes(connection: Connection, lanes: Lanes) -> None:
    """Keep `lanes` at what the dispatcher says, as long as the connection lives."""

    def take(_subject: bytes, _reply: bytes, _header: bytes, data: bytes) -> None:
        try:
            lanes.heard(_LANES.decode(data))
        except msgspec.DecodeError:
            log.exception("the dispatcher's lanes make no sense; they close by themselves")

    await connection.listen(subjects.LANES, take)


async def hear_position(connection: Connection, moved_to: Callable[[int], None]) -> None:
    """Pass on where the projector is, so that those who wait for it need not poll."""

    def take(_subject: bytes, _reply: bytes, _header: bytes, data: bytes) -> None:
        try:
            moved_to(_POSITION.decode(data).position)
        except msgspec.DecodeError:
            log.exception("the projector's position makes no sense; waiting polls instead")

    await connection.listen(POSITION, take)


class _Position(msgspec.Struct):
    position: int


POSITION: Final = "projector.position"
_POSITION: Final = msgspec.json.Decoder(_Position)
_LANES: Final = msgspec.json.Decoder(LanesNews)
