"""Who is asking, and what they may do. Tokens are kept and compared as SHA-256 digests only."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from services.api.problems import Problem

ALLOWED: Final[Mapping[str, frozenset[str]]] = {
    "client": frozenset(
        {"jobs.submit", "jobs.read", "jobs.command", "workflows.read", "workflows.publish"}
        | {"workers.read", "stats.read"}
    ),
    "auditor": frozenset({"jobs.read", "workflows.read", "workers.read", "stats.read"}),
}
DENIED: Final[Mapping[str, frozenset[str]]] = {
    "suspended": frozenset({"jobs.submit", "jobs.command", "workflows.publish"}),
}
"""What each role may and may never do. A denial of one role wins over what any other allows; silence
denies.
"""


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody known: their name, the tenant whose things they see, and their roles."""

    subject: str
    tenant: str
    roles: frozenset[str]

    def actions(self) -> frozenset[str]:
        """All that they may do."""
        allowed = frozenset[str]().union(*(ALLOWED.get(role, ()) for role in self.roles))
        return allowed.difference(*(DENIED.get(role, ()) for role in self.roles))

    @property
    def by(self) -> str:
        """How commits name them."""
        return f"client:{self.subject}"


class Authenticator:
    """Turns an Authorization header into a principal: one digest and one lookup."""

    def __init__(self, tokens: Mapping[str, Principal]) -> None:
        self._known: dict[bytes, tuple[bytes, Principal, frozenset[str]]] = {}
        for token, principal in tokens.items():
            digest = sha256(token.encode()).digest()
            self._known[digest] = (digest, principal, principal.actions())

    def principal(self, authorization: bytes | None, action: str) -> Principal:
        """The principal of "Bearer TOKEN", allowed to do `action`. Raises Problem (401 or 403) otherwise."""
        if authorization is None or authorization[:7].lower() != b"bearer ":
            raise Problem("unauthenticated", "Send Authorization: Bearer TOKEN.", headers=[_CHALLENGE])
        digest = sha256(authorization[7:].strip()).digest()
        # A dict compares digests, so its timing tells nothing of use about a token; the last word is
        # constant-time.
        known, principal, actions = self._known.get(digest, _NOBODY)
        if principal is None or not compare_digest(known, digest):
            raise Problem("unauthenticated", "The token is not known.", headers=[_CHALLENGE])
        if action not in actions:
            raise Problem("forbidden", f"The roles of {principal.subject!r} do not allow {action}.")
        return principal


_NOBODY: tuple[bytes, None, frozenset[str]] = (b"", None, frozenset())
_CHALLENGE = ("WWW-Authenticate", 'Bearer realm="daybook"')
