"""The whole HTTP server as one ASGI application, from parts that are given.

The first segment of a path says whose it is: a dialect's, else the native API's. No trailing-slash
redirects: a 307 breaks clients that POST.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from services.api.bodies import BodyLimits
from services.api.event_routes import HEARTBEAT_SECONDS, event_routes
from services.api.front import Dialect, FrontDoor
from services.api.job_routes import job_routes
from services.api.metrics import Metrics
from services.api.openapi import document_of
from services.api.principals import Authenticator
from services.api.problems import CONTENT_TYPE, FieldError, Problem
from services.api.reads import Jobs, Reads
from services.api.retrying import Retrying
from services.api.submit_routes import SubmitRoutes
from services.api.system_routes import Check, system_routes
from services.api.translation import EXPECTED, problem_of
from services.api.waiting import Waiting
from services.api.watch import Follower
from services.api.workflow_routes import workflow_routes
from shared.application.commands import Dispatcher
from shared.application.definitions import Definitions
from shared.application.ports import Journal
from shared.application.publish_workflow import PublishWorkflow
from shared.application.submit import Submit


def nothing_to_leave() -> None:
    """Nothing holds the server open."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the server is made of."""

    journal: Journal
    reads: Reads
    dispatcher: Dispatcher
    submit: Submit
    definitions: Definitions
    publish: PublishWorkflow
    follower: Follower
    authenticator: Authenticator
    metrics: Metrics = field(default_factory=Metrics)
    limits: BodyLimits = field(default_factory=BodyLimits)
    checks: Mapping[str, Check] = field(default_factory=dict)
    dialects: Sequence[Dialect] = ()
    heartbeat_seconds: float = HEARTBEAT_SECONDS
    leave: Callable[[], None] = nothing_to_leave
    """Called when the server is told to stop: ends what would otherwise hold it open."""


def server_of(parts: Parts) -> FrontDoor:
    """The application that uvicorn serves."""
    app = framework_of(parts)
    parts.metrics.watches.set_function(lambda: parts.follower.watching)
    waiting = Waiting(parts.journal, parts.follower)
    submitting = SubmitRoutes(
        parts.authenticator, parts.submit, parts.definitions, waiting, parts.metrics, parts.limits
    )
    hot = {("POST", "/v1/jobs"): submitting.one, ("POST", "/v1/jobs/bulk"): submitting.bulk}
    return FrontDoor(app, hot, parts.metrics, parts.dialects)


def framework_of(parts: Parts) -> FastAPI:
    """The FastAPI application behind the front door."""
    app = FastAPI(title="Daybook", version="1", docs_url=None, redoc_url=None, redirect_slashes=False)
    routers = routers_of(parts)
    app.state.authenticator, app.state.limits = parts.authenticator, parts.limits
    app.state.routes = [route for router in routers for route in router.routes]
    for router in routers:
        app.include_router(router)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http_error)
    # Those that are expected, by the roots of their trees. What is left is our fault, and logged as such.
    for expected in EXPECTED:
        app.add_exception_handler(expected, _any_error)
    app.add_exception_handler(Exception, _any_error)
    app.openapi = document_of(app)  # type: ignore[method-assign]  # FastAPI documents this way to extend it
    return app


def routers_of(parts: Parts) -> list[APIRouter]:
    """The native routes, but for the hot ones."""
    jobs = Jobs(parts.reads, parts.journal)
    retrying = Retrying(parts.journal, parts.submit, parts.definitions)
    return [
        job_routes(jobs, parts.reads, parts.journal, parts.dispatcher, retrying),
        event_routes(jobs, parts.journal, parts.follower, parts.heartbeat_seconds),
        workflow_routes(parts.publish, parts.definitions, parts.reads),
        system_routes(parts.reads, parts.checks, parts.metrics),
    ]


async def _any_error(request: Request, error: Exception) -> Response:
    return _response(problem_of(error))


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [_field_error(found) for found in error.errors()]
    return _response(Problem("invalid", "; ".join(e["message"] for e in errors), errors=errors))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = ", ".join(sorted(_methods(request)))
        return _response(Problem("method_not_allowed", f"It takes {allowed}.", headers=[("Allow", allowed)]))
    if error.status_code == 404:
        return _response(Problem("not_found", f"No route leads to {request.url.path[:200]!r}."))
    return _response(Problem("malformed_request", str(error.detail)))


def _response(problem: Problem) -> Response:
    return Response(problem.body(), problem.status, dict(problem.headers), media_type=CONTENT_TYPE)


def _field_error(found: dict[str, Any]) -> FieldError:
    pointer = "/".join(str(part) for part in found["loc"][1:])
    where = found["loc"][0]
    message = f"{where} {pointer}: {found['msg']}" if pointer else str(found["msg"])
    return {"pointer": f"/{pointer}", "message": message}


_HOT_PATHS = frozenset({"/v1/jobs", "/v1/jobs/bulk"})


def _methods(request: Request) -> set[str]:
    """All methods that some route takes at this path."""
    methods = {"POST"} if request.url.path in _HOT_PATHS else set()
    for route in request.app.state.routes:
        match, _ = route.matches(request.scope)
        if match is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    return methods
