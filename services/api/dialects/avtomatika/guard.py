"""What stands before every client's route: the rate limit, then who it is, then the month's quota."""

from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from services.api.bodies import Document, decode, read_body
from services.api.dialects.avtomatika.answers import Refused
from services.api.dialects.avtomatika.clients import Client
from services.api.dialects.avtomatika.parts import AvtomatikaParts
from services.api.dialects.avtomatika.token_tables import token_of_header
from services.api.problems import Problem
from shared.application.blueprint_jobs import BlueprintJob, job_of
from shared.application.ports import StoredCommit

Endpoint = Callable[[Request], Awaitable[Response]]


def guarded(parts: AvtomatikaParts, route: Callable[[Request, Client], Awaitable[Response]]) -> Endpoint:
    """`route` behind the limit and for known clients only."""

    async def endpoint(request: Request) -> Response:
        limited(parts, request)
        client = parts.clients.known(token_of(request))
        told = limited(parts, request, client)
        parts.clients.spend(client)
        response = await route(request, client)
        response.headers.update(told)
        return response

    return endpoint


def limited(parts: AvtomatikaParts, request: Request, client: Client | None = None) -> dict[str, str]:
    """Count the request, of its address or, once it is known, of its client wherever that is; the headers
    that tell what is left. Raises Refused (429).
    """
    if parts.rate is None:
        return {}
    address = request.client.host if request.client else ""
    who = address if client is None else f"client {client.tenant} {client.name}"
    allowance = parts.rate.take(f"{who} {request.url.path}")
    if allowance.is_exceeded:
        parts.metrics.blocked.inc()
        raise Refused("Too Many Requests", 429, allowance.headers())
    return allowance.headers()


def token_of(request: Request) -> str | None:
    """The client's token: X-Client-Token, or a bearer token."""
    token = request.headers.get("x-client-token")
    if token is None:
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        token = value.strip(" ") if scheme.lower() == "bearer" else None
    return None if token is None else token_of_header(token.encode("latin-1"))


async def document_of(parts: AvtomatikaParts, request: Request) -> Document:
    """The body, which must be an object. Its content type is nobody's business here."""
    headers = {name: value for name, value in request.scope["headers"] if name != b"content-type"}
    body = decode(_ANYTHING, await read_body(request.receive, headers, parts.limits), parts.limits)
    if not isinstance(body, dict):
        raise Refused("Invalid JSON body", 400)
    return body


async def job_commits(
    parts: AvtomatikaParts, client: Client | None, text: str
) -> tuple[UUID, list[StoredCommit]]:
    """A job's commits, if it is the client's (None: whoever's). Raises Problem 404, also for others' jobs."""
    try:
        job_id = UUID(text)
    except ValueError:
        raise Problem("job_not_found") from None
    commits = await parts.journal.history("job", job_id)
    if not commits:
        raise Problem("job_not_found")
    accepted = commits[0].events[0][1]
    if client is not None and not client.owns(accepted.get("tenant", ""), accepted.get("owner", "")):
        raise Problem("job_not_found")
    return job_id, commits


async def find_job(parts: AvtomatikaParts, client: Client | None, text: str) -> BlueprintJob:
    """The same as one folded job."""
    job = job_of(*await job_commits(parts, client, text))
    assert job is not None, "there are commits"
    return job


_ANYTHING: Final = msgspec.json.Decoder(Any)
