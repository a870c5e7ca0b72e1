"""Counts and single uses that all processes share and a restart keeps: one message a name, in the broker."""

from typing import Any, Final

import orjson

from shared.broker import subjects
from shared.broker.errors import Refused
from shared.broker.messages import Message
from shared.broker.publisher import Publisher

WRONG_LAST_SEQUENCE: Final = 10071


class Counters:
    """Numbers under subjects of the stream COUNTERS. Adding is the broker's, so no addition is lost."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def add(self, subject: str, number: int) -> int:
        """What the number is now. Raises BrokerError; after NoAnswer it may have been added."""
        header = b"NATS/1.0\r\nNats-Incr:%+d\r\n\r\n" % number
        said = _said(await self._publisher.request(subject, b"", header), "counting")
        return int(said["val"])

    async def value(self, subject: str) -> int:
        """What the number is; 0 when nothing was ever added. Raises BrokerError."""
        found = await self._publisher.request(f"$JS.API.DIRECT.GET.{subjects.COUNTERS}.{subject}")
        return int(orjson.loads(found.data)["val"]) if found.data else 0


class Uses:
    """Names that are used once, remembered in the stream USES for as long as it keeps them."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def take(self, subject: str) -> bool:
        """Whether this is the first use, of all processes. Raises BrokerError; NoAnswer may count."""
        header = b"NATS/1.0\r\nNats-Expected-Last-Subject-Sequence:0\r\n\r\n"
        try:
            _said(await self._publisher.request(subject, b"", header), "using")
        except Refused as refusal:
            if refusal.code == WRONG_LAST_SEQUENCE:
                return False
            raise
        return True


def _said(answer: Message, verb: str) -> dict[str, Any]:
    content: dict[str, Any] = orjson.loads(answer.data)
    error = content.get("error")
    if isinstance(error, dict):
        raise Refused(verb, error.get("err_code", 0), error.get("description", ""))
    return content
