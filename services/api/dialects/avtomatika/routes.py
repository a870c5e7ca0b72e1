"""The dialect as one ASGI application: its routes in order, its errors in its own form."""

import logging
import re
from typing import Final

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api.bodies import ClientGone
from services.api.dialects.avtomatika import client_routes, protocol, public_routes, worker_routes
from services.api.dialects.avtomatika.answers import Refused, refused
from services.api.dialects.avtomatika.file_routes import AS_ASKED
from services.api.dialects.avtomatika.parts import AvtomatikaParts
from services.api.front import Dialect
from services.api.problems import Problem
from services.api.translation import problem_of

log = logging.getLogger(__name__)

WORKERS: Final = "/_worker/"


def dialect_of(parts: AvtomatikaParts) -> Dialect:
    """Public paths, workers' paths, clients' paths; what a blueprint is called by is looked for last."""
    routes = [*worker_routes.routes(parts.worker_door), *public_routes.routes(parts)]
    segments = {"_public", "_worker"}
    if parts.settings.client_api_enabled:
        routes += client_routes.routes(parts)
        segments.add(parts.settings.client_api_prefix)
    return Dialect(frozenset(segments), Door(routes, parts.worker_door))


class Door:
    """Tolerates extra slashes, and answers every error as {"error": text}."""

    def __init__(self, routes: list[BaseRoute], workers: ASGIApp | None = None) -> None:
        """`workers` answers all requests below `/_worker/`: they carry the load, so no route is matched."""
        self._workers = workers
        self._router = Router(routes, redirect_slashes=False, default=_nothing)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if "//" in path or path.endswith("/"):
            path = _SLASHES.sub("/", path).rstrip("/")
            scope = {**scope, "path": path, "raw_path": path.encode(), AS_ASKED: scope["path"]}
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        answered, version = False, (b"x-rxon-version", protocol.answered(scope["headers"]))
        scope["app"] = self  # so that a method that no route takes is an HTTPException

        async def marked(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                message["headers"] = [*message.get("headers", ()), version]
            await send(message)

        direct = self._workers if path.startswith(WORKERS) else None
        try:
            await (direct or self._router)(scope, receive, marked)
        except ClientGone:
            return
        except Exception as error:
            if answered:
                raise
            await _refusal(error)(scope, receive, marked)


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
    else:
        raise HTTPException(404, "Not Found")


def _refusal(error: Exception) -> Response:
    if isinstance(error, Refused):
        return refused(error.text, error.status, error.headers)
    if isinstance(error, HTTPException):
        return refused(str(error.detail), error.status_code, dict(error.headers or {}))
    problem = problem_of(error)
    return refused(_TEXTS.get(problem.code) or problem.detail or problem.title, *_status(problem))


def _status(problem: Problem) -> tuple[int, dict[str, str]]:
    return 400 if problem.status == 422 else problem.status, dict(problem.headers)


_SLASHES: Final = re.compile(r"/{2,}")
_TEXTS: Final = {
    "malformed_json": "Invalid JSON body",
    "job_not_found": "Job not found",
    "internal": "Internal server error",
}
