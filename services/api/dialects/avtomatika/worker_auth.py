"""Which worker is calling: the global token, tokens of their own, short-lived tokens, signatures.

Tokens of workers' own stand in a TOML file, a table a worker or a pattern of names:

    [gpu-1]
    token = "secret"
    ["cpu-*"]
    token_sha256 = "<SHA-256 of the token in hex>"

The file is read again when it changes. A worker that has a token of its own may not use the global one.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Any, Final, Literal
from uuid import UUID

from services.api.dialects.avtomatika.signatures import signature
from services.api.dialects.avtomatika.token_file import TokenFile
from services.api.dialects.avtomatika.token_tables import token_digest
from services.api.dialects.avtomatika.worker_tickets import (
    PREFIX,
    SECONDS,
    InvalidTicket,
    Kind,
    Ticket,
    Tickets,
)
from shared.application.ids import derived_id
from shared.broker.counters import Uses
from shared.broker.subjects import use
from shared.settings import Settings, UnusableFile

log = logging.getLogger(__name__)

SIGNED_SECONDS: Final = 60
"""How far from now a signed message's time may be."""

Mode = Literal["mixed", "mtls-only", "token-only"]
Why = Literal["credentials", "identity", "replay", "signature"]
"""Why somebody is denied: who it is, whom it speaks for, when it spoke, or what it signed."""

Spend = Callable[[str], Awaitable[bool]]
"""Use up the number of a refresh token; False when it was before. Remembered for longer than it is good."""


class Denied(Exception):
    """The caller may not do that. 401: who it is is not known (any more); 403: it is somebody else."""

    def __init__(self, status: Literal[401, 403], text: str, why: Why = "credentials") -> None:
        super().__init__(text)
        self.status, self.text, self.why = status, text, why


class UnreadableWorkers(UnusableFile):
    """The file with the workers' tokens cannot be used."""


@dataclass(frozen=True, slots=True)
class _Own:
    """The digest of a token of a worker's own; `name` may be a pattern."""

    name: str
    digest: bytes


class WorkerAuth:
    """Asked with each request of a worker."""

    def __init__(
        self,
        global_token: str,
        file: Path | None,
        key: bytes,
        now: Callable[[], float],
        spend: Spend,
        *,
        signatures: bool = False,
        mode: Mode = "mixed",
    ) -> None:
        """`key` signs the short-lived tokens; `now` gives seconds since the epoch. Raises
        UnreadableWorkers.
        """
        self._spend, self._mode = spend, mode
        self._global = sha256(global_token.encode()).digest() if global_token else None
        self._now, self._signatures = now, signatures
        self._tickets = Tickets(key, now)
        self._file = None if file is None else TokenFile(file, now, UnreadableWorkers)
        self._exact: dict[str, _Own] = {}
        self._patterns: list[_Own] = []
        if self._file is not None:
            self._read(self._file)

    @classmethod
    def of(cls, settings: Settings, now: Callable[[], float], spend: Spend) -> "WorkerAuth":
        """As the settings say. Raises UnreadableWorkers."""
        secrets = (settings.nats_password, settings.jwt_secret, settings.client_token, settings.worker_token)
        key = sha256(b"short-lived tokens of workers\0" + "\0".join(secrets).encode()).digest()
        return cls(
            settings.worker_token,
            settings.workers_file,
            key,
            now,
            spend,
            signatures=settings.worker_signatures,
            mode=settings.worker_auth_mode,
        )

    def reload(self) -> bool:
        """Read the file now. False when there is none. Raises UnreadableWorkers, keeping what was known."""
        if self._file is None:
            return False
        self._read(self._file)
        return True

    def vouches(self, certified: str | None) -> bool:
        """Whether a client certificate says who the caller is."""
        return certified is not None and self._mode != "token-only"

    def check(self, token: str | None, worker: str, certified: str | None = None) -> None:
        """Whether `token`, or the name in a client certificate, lets the caller act as `worker`. Raises
        Denied.
        """
        if self.vouches(certified):
            if certified != worker:
                text = f"Unauthorized: Certificate CN '{certified}' does not match worker_id '{worker}'"
                raise Denied(403, text, "identity")
            return
        if not token:
            raise Denied(401, _MISSING[self._mode])
        if token.startswith(PREFIX):
            known = self._ticket(token, "access").worker
            if known != worker:
                text = f"Unauthorized: Access Token belongs to '{known}', but request is for '{worker}'"
                raise Denied(403, text, "identity")
            return
        if self._mode == "mtls-only":
            raise Denied(401, "Unauthorized: Invalid authentication method.")
        presented = sha256(token.encode()).digest()
        own = self._own(worker)
        if own is not None:
            if not compare_digest(own.digest, presented):
                uses_global = self._global is not None and compare_digest(self._global, presented)
                raise Denied(403 if uses_global else 401, "Unauthorized: Invalid individual worker token")
        elif self._global is None or not compare_digest(self._global, presented):
            raise Denied(401, "Unauthorized: No valid token found")

    def named_by(self, token: str | None) -> str | None:
        """The worker that a short-lived token was made for; None for any other token. Raises Denied."""
        return self._ticket(token, "access").worker if token and token.startswith(PREFIX) else None

    def issue(self, worker: str) -> dict[str, Any]:
        """A pair of short-lived tokens for a worker that was checked."""
        return {
            "access_token": self._tickets.made("access", worker),
            "refresh_token": self._tickets.made("refresh", worker),
            "expires_in": SECONDS["access"],
            "worker_id": worker,
        }

    async def refresh(self, token: str, worker: str | None) -> dict[str, Any]:
        """A new pair for a refresh token, which is used up by it. Raises Denied, BrokerError."""
        ticket = self._ticket(token, "refresh")
        if worker not in (None, ticket.worker):
            raise Denied(403, "Unauthorized: Invalid refresh token (owner mismatch)", "identity")
        if not await self._spend(ticket.number):
            raise Denied(401, "Unauthorized: Invalid refresh token (used before)", "replay")
        return self.issue(ticket.worker)

    @property
    def signed(self) -> bool:
        """Whether messages must be signed."""
        return self._signatures

    def verify(self, document: Mapping[str, Any], token: str, worker: str, *unsigned: str) -> None:
        """Whether a message is signed by its worker, just now; where signatures are demanded. Raises Denied.

        The key is the token; `unsigned` are members that the signature leaves out beside `security`.
        """
        if not self._signatures:
            return
        security = document.get("security")
        if not isinstance(security, dict) or not isinstance(security.get("signature"), str):
            raise Denied(403, "Missing required security context", "signature")
        at = document.get("timestamp")
        if isinstance(at, bool) or not isinstance(at, int):
            raise Denied(403, "Missing required timestamp for replay protection", "replay")
        if abs(int(self._now()) - at) > SIGNED_SECONDS:
            raise Denied(403, "Message timestamp expired (replay protection)", "replay")
        if security.get("signer_id") not in (None, worker):
            raise Denied(403, "Immediate sender ID mismatch", "identity")
        try:
            good = signature(document, token, *unsigned)
        except ValueError as error:
            raise Denied(403, "Invalid cryptographic signature", "signature") from error
        if not compare_digest(good.encode(), security["signature"].lower().encode()):
            raise Denied(403, "Invalid cryptographic signature", "signature")

    def _own(self, worker: str) -> _Own | None:
        self._look()
        own = self._exact.get(worker)
        if own is not None:
            return own
        return next((each for each in self._patterns if fnmatchcase(worker, each.name)), None)

    def _look(self) -> None:
        """Read the file again if it changed; a file that cannot be read leaves what was known."""
        if self._file is None or not self._file.has_changed():
            return
        try:
            self._read(self._file)
            log.info("the tokens of workers were read again")
        except UnreadableWorkers as problem:
            log.error("%s; the tokens that were known still hold", problem)

    def _read(self, file: TokenFile) -> None:
        owns = [_Own(name, _digest_of(file.path, name, table)) for name, table in file.tables().items()]
        self._exact = {own.name: own for own in owns if not _is_pattern(own.name)}
        self._patterns = [own for own in owns if _is_pattern(own.name)]

    def _ticket(self, token: str, kind: Kind) -> Ticket:
        """What a short-lived token says. Raises Denied."""
        try:
            return self._tickets.read(token, kind)
        except InvalidTicket as problem:
            word = "Access Token" if kind == "access" else "refresh token"
            raise Denied(401, f"Unauthorized: Invalid {word} ({problem})") from problem


def spending(uses: Uses) -> Spend:
    """Numbers are used once by all processes together."""

    async def spend(number: str) -> bool:
        return await uses.take(use(derived_id(_TICKETS, number)))

    return spend


def _digest_of(file: Path, name: str, table: object) -> bytes:
    """The digest that the table of a worker says. Raises UnreadableWorkers."""
    try:
        return token_digest(table if isinstance(table, dict) else {})
    except ValueError as error:
        raise UnreadableWorkers(f'{file}: worker "{name}": {error}') from error


def _is_pattern(name: str) -> bool:
    return any(sign in name for sign in "*?[")


_MISSING: Final[Mapping[Mode, str]] = {
    "mixed": "Unauthorized: Missing X-Worker-Token header or client certificate.",
    "mtls-only": "Unauthorized: Client certificate required.",
    "token-only": "Unauthorized: Missing X-Worker-Token header.",
}
_TICKETS: Final = UUID("5c1f7f3a-90a5-5f0e-a3c8-2f4e8f6f7b10")
