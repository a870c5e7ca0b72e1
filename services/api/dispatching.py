"""The dispatcher as this process talks to it: commands as requests, lanes as a broadcast."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import UUID

import msgspec
import orjson

from services.api.lanes import Lanes, LanesNews
from shared.application.commands import ANSWER_SECONDS, CommandAnswer, DispatcherSilent
from shared.broker import subjects
from shared.broker.connection import Connection
from shared.broker.errors import BrokerError
from shared.broker.publisher import Publisher

log = logging.getLogger(__name__)


class BrokerDispatcher:
    """Asks the dispatcher over core NATS."""

    def __init__(self, publisher: Publisher, seconds: float = ANSWER_SECONDS) -> None:
        self._publisher, self._seconds = publisher, seconds

    async def ask(self, job: UUID, command: Mapping[str, Any]) -> CommandAnswer:
        """Send one command and wait for the decision. Raises DispatcherSilent."""
        request = self._publisher.request(subjects.command(job), orjson.dumps(command), timeout=self._seconds)
        try:
            answer = await request
        except BrokerError as error:
            raise DispatcherSilent(str(error)) from error
        try:
            return _ANSWER.decode(answer.data)
        except msgspec.DecodeError as error:
            log.exception("the dispatcher's answer makes no sense")
            raise DispatcherSilent("its answer makes no sense") from error


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
_ANSWER: Final = msgspec.json.Decoder(CommandAnswer)
_LANES: Final = msgspec.json.Decoder(LanesNews)
