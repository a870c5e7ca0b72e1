"""The gateway's questions to the dispatcher, and its answers. Wire: docs/wire.md."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import orjson

from services.api.gateway.tasks import Key
from shared.application.commands import DispatcherSilent
from shared.broker import subjects
from shared.broker.errors import BrokerError
from shared.broker.messages import Message
from shared.broker.publisher import Publisher
from shared.domain.values import Verdict

log = logging.getLogger(__name__)

AGAIN_SECONDS = 0.25
"""Between two tries when nobody answers at once."""


class ReportRefused(Exception):
    """The dispatcher cannot make sense of a report; saying it again would not help."""


class Answered(msgspec.Struct):
    """The dispatcher's answer to a report."""

    verdict: str = ""
    reason: str | None = None
    lease_seconds: float = 60.0
    error: str | None = None


def answer_of(message: Message) -> Answered:
    """Raises msgspec.DecodeError."""
    return _DECODER.decode(message.data)


class Reports:
    """Sends reports of workers over one publisher."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def ask(self, key: Key, worker: str, kind: str, **more: Any) -> "asyncio.Future[Message]":
        """One question; the future fails with BrokerError when it is not answered."""
        return self._publisher.request(subjects.report(key.job), _body(key, worker, kind, more))

    async def settled(
        self, key: Key, worker: str, kind: str, more: Mapping[str, Any], patience: float
    ) -> Verdict:
        """Ask until there is a verdict: repeating a report changes nothing.

        Raises ReportRefused, or DispatcherSilent when there is none after `patience` seconds.
        """
        subject, body = subjects.report(key.job), _body(key, worker, kind, more)
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        while True:
            left = until - loop.time()
            try:
                message = await self._publisher.request(subject, body, timeout=max(0.1, min(left, 5.0)))
                answer = answer_of(message)
            except BrokerError as error:
                if loop.time() + AGAIN_SECONDS >= until:
                    raise DispatcherSilent(str(error)) from error
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            except msgspec.DecodeError as error:
                raise ReportRefused(f"an answer that cannot be read: {error}") from error
            if answer.error is not None or not answer.verdict:
                raise ReportRefused(answer.error or "an answer without a verdict")
            return Verdict(answer.verdict in ("accepted", "granted"), answer.reason)


def _body(key: Key, worker: str, kind: str, more: Mapping[str, Any]) -> bytes:
    return orjson.dumps({"kind": kind, "task": key.task, "attempt": key.attempt, "worker": worker, **more})


_DECODER: Final = msgspec.json.Decoder(Answered)
