"""The dispatcher as other processes talk to it: commands as core requests."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import msgspec
import orjson

from shared.application.commands import ANSWER_SECONDS, CommandAnswer, DispatcherSilent
from shared.broker import subjects
from shared.broker.errors import BrokerError, NoResponders
from shared.broker.publisher import Publisher


class NoDispatcher(DispatcherSilent):
    """Nobody listens at all, so another job's command would not be heard either."""


class BrokerDispatcher:
    """Asks whoever decides about the job."""

    def __init__(self, publisher: Publisher, seconds: float = ANSWER_SECONDS) -> None:
        self._publisher, self._seconds = publisher, seconds

    async def ask(self, job: UUID, command: Mapping[str, Any]) -> CommandAnswer:
        """Send one command and wait for the decision. Raises NoDispatcher or DispatcherSilent."""
        request = self._publisher.request(subjects.command(job), orjson.dumps(command), timeout=self._seconds)
        try:
            return _ANSWER.decode((await request).data)
        except NoResponders as error:
            raise NoDispatcher(str(error)) from error
        except BrokerError as error:
            raise DispatcherSilent(str(error)) from error
        except msgspec.DecodeError as error:
            raise DispatcherSilent(f"its answer makes no sense: {error}") from error


_ANSWER: Final = msgspec.json.Decoder(CommandAnswer)
