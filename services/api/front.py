"""The outermost ASGI application: hot routes and dialects on bare ASGI, everything else through FastAPI.

Matching, validation and response classes of a framework cost more than the decision itself, so the routes
that carry the load read the ASGI scope directly and answer with ready bytes. They still stand in the
OpenAPI document.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api.bodies import ClientGone
from services.api.metrics import Metrics
from services.api.problems import CONTENT_TYPE, Problem
from services.api.translation import problem_of

log = logging.getLogger(__name__)

Headers = Mapping[bytes, bytes]
RawHeaders = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Answer:
    """A response that is ready to be sent; `headers` comes on top of those that every answer has."""

    status: int
    body: bytes
    headers: RawHeaders
    content_type: bytes = b"application/json"


HotRoute = Callable[[Headers, Receive], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Dialect:
    """An interface of another system: everything whose path begins with one of `segments`, as bare ASGI.

    It answers everything itself, its errors too, and puts `route` into the scope of what it knows.
    """

    segments: frozenset[str]
    app: ASGIApp


SECURITY_HEADERS: Final[RawHeaders] = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class FrontDoor:
    """Dispatches to a hot route, a dialect or the framework, and gives every answer its headers."""

    def __init__(
        self,
        app: ASGIApp,
        hot: Mapping[tuple[str, str], HotRoute],
        metrics: Metrics,
        dialects: Sequence[Dialect] = (),
    ) -> None:
        self._app, self._metrics = app, metrics
        self._hot = dict(hot)
        self._dialects = {segment: dialect.app for dialect in dialects for segment in dialect.segments}

    @property
    def hot_routes(self) -> list[tuple[str, str]]:
        """(method, path) of each route that the framework does not see."""
        return list(self._hot)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope["type"] != "http":
            await self._behind(path)(scope, receive, send)
            return
        method = scope["method"]
        route = self._hot.get((method, path))
        if route is None:
            await self._observed(self._behind(path), scope, receive, send)
            return
        started = time.perf_counter()
        try:
            answer = await route(dict(scope["headers"]), receive)
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001 (the last place that can answer; unknown ones are logged)
            answer = of_problem(problem_of(error))
        self._metrics.count(method, path, answer.status, time.perf_counter() - started)
        await respond(send, answer)

    def _behind(self, path: str) -> ASGIApp:
        """Whose the path is: a dialect's, or the framework's. Extra slashes at the front do not matter."""
        return self._dialects.get(path.lstrip("/").partition("/")[0], self._app)

    async def _observed(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Through `app`, with the headers that every answer has, counting the answer when it begins."""
        started, answered = time.perf_counter(), False

        async def observed(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                _add_headers(message)
                route = getattr(scope.get("route"), "path", "none")
                self._metrics.count(scope["method"], route, message["status"], time.perf_counter() - started)
            answered = not message.get("more_body", message["type"] == "http.response.start")
            await send(message)

        try:
            await app(scope, receive, observed)
        except Exception:
            # The framework raises again what it has logged and answered. A stream that broke in the middle
            # is not answered: the server must close its connection.
            if not answered:
                raise


def of_problem(problem: Problem) -> Answer:
    """A problem as the native API writes it."""
    headers = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in problem.headers]
    return Answer(problem.status, problem.body(), headers, CONTENT_TYPE.encode())


async def respond(send: Send, answer: Answer) -> None:
    """Send the whole answer."""
    headers = [
        (b"content-type", answer.content_type),
        (b"content-length", b"%d" % len(answer.body)),
        *SECURITY_HEADERS,
        *answer.headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def _add_headers(message: MutableMapping[str, Any]) -> None:
    headers: RawHeaders = list(message.get("headers", ()))
    names = {name for name, _ in headers}
    headers.extend(header for header in SECURITY_HEADERS if header[0] not in names)
    message["headers"] = headers
