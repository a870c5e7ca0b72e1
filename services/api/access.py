"""What every framework route shares: who may call it, its body, its answer."""

from dataclasses import dataclass
from typing import Any

import msgspec
import orjson
from starlette.requests import Request
from starlette.responses import Response

from services.api.bodies import BodyLimits, T, decode, read_body
from services.api.principals import Authenticator, Principal


@dataclass(frozen=True, slots=True)
class Allowed:
    """A dependency: the principal of the request, if it may do `action`. Raises Problem 401 or 403."""

    action: str

    async def __call__(self, request: Request) -> Principal:
        authenticator: Authenticator = request.app.state.authenticator
        header = request.headers.get("authorization")
        return authenticator.principal(None if header is None else header.encode("latin-1"), self.action)


async def body_of(request: Request, decoder: msgspec.json.Decoder[T], *, empty: bytes | None = None) -> T:
    """The request's body; `empty` stands for no body at all where that is allowed."""
    limits: BodyLimits = request.app.state.limits
    body = await read_body(request.receive, dict(request.scope["headers"]), limits)
    return decode(decoder, empty if not body and empty is not None else body, limits)


def json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """`content` as the answer's JSON."""
    return Response(orjson.dumps(content), status, headers, media_type="application/json")
