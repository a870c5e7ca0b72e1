"""The clients: who a token belongs to, and how much of the month is left to them.

`clients.toml` has a table a client: `token` (or its SHA-256, see token_tables), and if wanted `plan`,
`tenant`, `monthly_attempts`; everything else is the client's own and given to handlers. A file
that cannot be read stops the start; one that breaks later is logged, and what was known stays known.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Any, Final

from services.api.dialects.avtomatika.answers import Refused
from services.api.dialects.avtomatika.quotas import Quotas
from services.api.dialects.avtomatika.token_file import TokenFile
from services.api.dialects.avtomatika.token_tables import NAMES, token_digest
from shared.domain.values import DEFAULT_TENANT
from shared.settings import UnusableFile

log = logging.getLogger(__name__)


class BadClients(UnusableFile):
    """The file of the clients cannot be used."""


@dataclass(frozen=True, slots=True)
class Client:
    """A known client. `name` owns its jobs; `params` is what else stands in its table."""

    name: str
    tenant: str = DEFAULT_TENANT
    plan: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    monthly_attempts: int | None = None

    @property
    def by(self) -> str:
        """How commits name them."""
        return f"client:{self.name}"

    def owns(self, tenant: str, owner: str) -> bool:
        return tenant == self.tenant and owner == self.name


class Clients:
    """Finds a client by its token. Tokens are kept as SHA-256 digests only."""

    def __init__(
        self,
        token: str,
        file: Path | None,
        quotas: Quotas,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`token` is that of the client named "client". Raises BadClients."""
        self._global = _keyed({sha256(token.encode()).digest(): Client("client")} if token else {})
        self._file = None if file is None else TokenFile(file, monotonic, BadClients)
        self._quotas = quotas
        self._known = dict(self._global)
        if self._file is not None:
            self._known.update(_keyed(clients_of(self._file)))

    def find(self, token: str | None) -> Client:
        """The client of a token, with one request taken from its month. Raises Refused."""
        client = self.known(token)
        self.spend(client)
        return client

    def spend(self, client: Client) -> None:
        """Take one request from the client's month. Raises Refused."""
        if client.monthly_attempts is not None and not self._quotas.take(
            client.name, client.monthly_attempts
        ):
            raise Refused("Quota exceeded or not configured", 429)

    def limited(self) -> list[str]:
        """The names of those whose months are counted."""
        return [client.name for _, client in self._known.values() if client.monthly_attempts is not None]

    def known(self, token: str | None) -> Client:
        """The client of a token. Raises Refused."""
        if not token:
            raise Refused("Missing X-Client-Token header", 401)
        self._look()
        digest = sha256(token.encode()).digest()
        # A dict compares digests, so its timing tells nothing of use about a token; the last word is
        # constant-time.
        known, client = self._known.get(digest, _NOBODY)
        if client is None or not compare_digest(known, digest):
            raise Refused("Unauthorized: Invalid token", 401)
        return client

    def _look(self) -> None:
        if self._file is None or not self._file.has_changed():
            return
        try:
            clients = clients_of(self._file)
        except BadClients as problem:
            log.error("%s; the clients stay as they were", problem)
            return
        self._known = {**self._global, **_keyed(clients)}
        log.info("%d clients are known from %s", len(clients), self._file.path)


def clients_of(file: TokenFile) -> dict[bytes, Client]:
    """The clients of a file by the digests of their tokens. Raises BadClients."""
    found: dict[bytes, Client] = {}
    for name, table in file.tables().items():
        where = f"{file.path}: client {name!r}"
        if not isinstance(table, dict):
            raise BadClients(f"{file.path}: {name} is not a table")
        digest = _digest_of(table, where)
        if digest in found:
            raise BadClients(f"{where} has the token of {found[digest].name!r}")
        found[digest] = _client(name, table, where)
    return found


def _keyed(clients: Mapping[bytes, Client]) -> dict[bytes, tuple[bytes, Client]]:
    return {digest: (digest, client) for digest, client in clients.items()}


def _digest_of(table: Mapping[str, Any], where: str) -> bytes:
    try:
        return token_digest(table)
    except ValueError as error:
        raise BadClients(f"{where}: {error}") from error


def _client(name: str, table: Mapping[str, Any], where: str) -> Client:
    plan, tenant = table.get("plan"), table.get("tenant", DEFAULT_TENANT)
    attempts = table.get("monthly_attempts")
    if plan is not None and not isinstance(plan, str):
        raise BadClients(f"{where}: plan is not a string")
    if not isinstance(tenant, str) or not tenant:
        raise BadClients(f"{where}: tenant is not a string")
    if attempts is not None and (isinstance(attempts, bool) or not isinstance(attempts, int)):
        raise BadClients(f"{where}: monthly_attempts is not an integer")
    params = table.get("params")
    own = {key: value for key, value in table.items() if key not in _OURS}
    if isinstance(params, dict):
        own = {**own, **params}
    elif params is not None:
        own["params"] = params
    return Client(name, tenant, plan, own, attempts)


_NOBODY: Final[tuple[bytes, None]] = (b"", None)
_OURS: Final = NAMES | {"plan", "tenant", "monthly_attempts", "params"}
