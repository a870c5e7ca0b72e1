"""Which worker is calling: the global token, tokens of their own, short-lived tokens, signatures.

Tokens of workers' own stand in a TOML file, a table a worker or a pattern of names:

    [gpu-1]
    token = "secret"
    ["cpu-*"]
    token_sha256 = "<SHA-256 of the token in hex>"

The file is read again when it changes. A worker that has a token of its own may not use the global one.
"""

import base64
import logging
import os
import tomllib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from hmac import compare_digest, digest
from pathlib import Path
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
import orjson

from services.api.dialects.avtomatika.token_tables import token_digest
from shared.application.ids import derived_id
from shared.broker.counters import Uses
from shared.broker.subjects import use
from shared.settings import Settings, UnusableFile

log = logging.getLogger(__name__)

ACCESS_SECONDS: Final = 3600
REFRESH_SECONDS: Final = 24 * 3600
SIGNED_SECONDS: Final = 60
"""How far from now a signed message's time may be."""
LOOK_SECONDS: Final = 1.0
"""Between two looks at the file."""
PREFIX: Final = "dbw."


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


class _Ticket(msgspec.Struct, array_like=True):
    """What a short-lived token says: its kind, its worker, until when, and a number of its own."""

    kind: Literal["access", "refresh"]
    worker: str
    until: int
    number: str


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
        self._file, self._key, self._now, self._signatures = file, key, now, signatures
        self._exact: dict[str, _Own] = {}
        self._patterns: list[_Own] = []
        self._looked = self._now()
        self._seen: tuple[int, int] | None = None
        if file is not None:
            self._read(file)

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
        now = int(self._now())
        return {
            "access_token": self._sign(_Ticket("access", worker, now + ACCESS_SECONDS, _number())),
            "refresh_token": self._sign(_Ticket("refresh", worker, now + REFRESH_SECONDS, _number())),
            "expires_in": ACCESS_SECONDS,
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

        The signature is the HMAC-SHA256, keyed with the token, of the message's JSON without `security` and
        the `unsigned` members: keys sorted, compact, null left out, whole numbers as integers.
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
        signed = {name: value for name, value in document.items() if name not in ("security", *unsigned)}
        message = orjson.dumps(_plain(signed), option=orjson.OPT_SORT_KEYS)
        if not compare_digest(digest(token.encode(), message, "sha256").hex(), security["signature"].lower()):
            raise Denied(403, "Invalid cryptographic signature", "signature")

    def _own(self, worker: str) -> _Own | None:
        self._look()
        own = self._exact.get(worker)
        if own is not None:
            return own
        return next((each for each in self._patterns if fnmatchcase(worker, each.name)), None)

    def _look(self) -> None:
        """Read the file again if it changed; a file that cannot be read leaves what was known."""
        now = self._now()
        if self._file is None or 0 <= now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        try:
            if _stamp(self._file) != self._seen:
                self._read(self._file)
                log.info("the tokens of workers were read again")
        except UnreadableWorkers as problem:
            log.error("%s; the tokens that were known still hold", problem)

    def _read(self, file: Path) -> None:
        try:
            self._seen = _stamp(file)
            tables = tomllib.loads(file.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UnreadableWorkers(f"{file}: {error}") from error
        owns = [_Own(name, _digest_of(file, name, table)) for name, table in tables.items()]
        self._exact = {own.name: own for own in owns if not _is_pattern(own.name)}
        self._patterns = [own for own in owns if _is_pattern(own.name)]

    def _sign(self, ticket: _Ticket) -> str:
        body = _text(msgspec.json.encode(ticket))
        return f"{PREFIX}{body}.{_text(digest(self._key, body.encode(), 'sha256'))}"

    def _ticket(self, token: str, kind: str) -> _Ticket:
        """What a token of ours says. Raises Denied for a forged, foreign or expired one."""
        word = "Access Token" if kind == "access" else "refresh token"
        body, _, signature = token.removeprefix(PREFIX).partition(".")
        expected = _text(digest(self._key, body.encode(), "sha256"))
        if not token.startswith(PREFIX) or not compare_digest(expected.encode(), signature.encode()):
            raise Denied(401, f"Unauthorized: Invalid {word} (not found)")
        ticket = _TICKET.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        if ticket.kind != kind:
            raise Denied(401, f"Unauthorized: Invalid {word} (not found)")
        if ticket.until <= self._now():
            raise Denied(401, f"Unauthorized: Invalid {word} (expired)")
        return ticket


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


def _stamp(file: Path) -> tuple[int, int]:
    """What changes when the file does; zeros when it is gone."""
    try:
        found = file.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _number() -> str:
    return os.urandom(12).hex()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _plain(value: Any) -> Any:
    """As messages are signed: without null, whole numbers as integers."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


_MISSING: Final[Mapping[Mode, str]] = {
    "mixed": "Unauthorized: Missing X-Worker-Token header or client certificate.",
    "mtls-only": "Unauthorized: Client certificate required.",
    "token-only": "Unauthorized: Missing X-Worker-Token header.",
}
_TICKETS: Final = UUID("5c1f7f3a-90a5-5f0e-a3c8-2f4e8f6f7b10")
_TICKET: Final = msgspec.json.Decoder(_Ticket)
