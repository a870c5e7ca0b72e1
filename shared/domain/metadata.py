"""Keys of a job's metadata: those that begin with "daybook." are the server's, all others the client's."""

from collections.abc import Mapping
from typing import Final

from shared.domain.values import Json

RESERVED: Final = "daybook."
"""How the server's own keys begin."""
CLIENT: Final = "daybook.client"
"""Tells a job's handlers of its client: {"plan", "params"}, never a token."""
SECURITY: Final = "daybook.security"
"""The security context that the client gave."""
RESULT_TIMEOUT: Final = "daybook.result_timeout"
"""The seconds after which the client wanted a result; the job's deadline follows from them."""


def reserved_in(metadata: Mapping[str, object] | None) -> bool:
    """Whether a client used a key that is the server's."""
    return any(name.startswith(RESERVED) for name in metadata or ())


def of_client(metadata: Mapping[str, Json] | None) -> dict[str, Json]:
    """The client's own metadata."""
    return {name: value for name, value in (metadata or {}).items() if _is_said(name)}


def told_to_workers(metadata: Mapping[str, Json] | None) -> dict[str, Json] | None:
    """What of a job's metadata goes with its tasks: all that the client said, its security context too."""
    if metadata is None:
        return None
    told = {name: value for name, value in metadata.items() if name == SECURITY or _is_said(name)}
    return told or None


def _is_said(name: str) -> bool:
    return not name.startswith(RESERVED)
