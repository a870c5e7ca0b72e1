"""Short-lived tokens of workers: made and read by any API process that has the key, kept by none."""

import base64
import os
from collections.abc import Callable, Mapping
from hmac import compare_digest, digest
from typing import Final, Literal

import msgspec

PREFIX: Final = "dbw."
"""How they begin, and no other token of a worker."""

Kind = Literal["access", "refresh"]

SECONDS: Final[Mapping[Kind, int]] = {"access": 3600, "refresh": 24 * 3600}
"""For how long they are good."""


class InvalidTicket(Exception):
    """The token is forged, foreign or expired; the message says so in a word or two."""


class Ticket(msgspec.Struct, array_like=True):
    """What a short-lived token says: its kind, its worker, until when, and a number of its own."""

    kind: Kind
    worker: str
    until: int
    number: str


class Tickets:
    """Makes them, and tells whether one is ours."""

    def __init__(self, key: bytes, now: Callable[[], float]) -> None:
        """`key` signs them; `now` gives seconds since the epoch."""
        self._key, self._now = key, now

    def made(self, kind: Kind, worker: str) -> str:
        """A new one."""
        ticket = Ticket(kind, worker, int(self._now()) + SECONDS[kind], os.urandom(12).hex())
        body = _text(msgspec.json.encode(ticket))
        return f"{PREFIX}{body}.{self._signature(body)}"

    def read(self, token: str, kind: Kind) -> Ticket:
        """What a token of that kind says. Raises InvalidTicket."""
        body, _, signature = token.removeprefix(PREFIX).partition(".")
        expected = self._signature(body)
        if not token.startswith(PREFIX) or not compare_digest(expected.encode(), signature.encode()):
            raise InvalidTicket("not found")
        ticket = _DECODER.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        if ticket.kind != kind:
            raise InvalidTicket("not found")
        if ticket.until <= self._now():
            raise InvalidTicket("expired")
        return ticket

    def _signature(self, body: str) -> str:
        return _text(digest(self._key, body.encode(), "sha256"))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


_DECODER: Final = msgspec.json.Decoder(Ticket)
