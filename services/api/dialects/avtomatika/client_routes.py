"""The clients' routes, under /{prefix}/{version}. What a blueprint is called by is the last of them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from uuid import UUID

from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from services.api.dialects.avtomatika import approvals, file_routes
from services.api.dialects.avtomatika.answers import Refused, answer
from services.api.dialects.avtomatika.clients import Client
from services.api.dialects.avtomatika.guard import find_job, guarded, job_commits
from services.api.dialects.avtomatika.history_view import history_of
from services.api.dialects.avtomatika.parts import AvtomatikaParts
from services.api.dialects.avtomatika.submitting import NoBlueprint, submit
from services.api.dialects.avtomatika.views import dashboard, graph_of, latest_events, skills_of, workers_of
from shared.application.commands import CommandRefused, command
from shared.application.definitions import UnknownWorkflow
from shared.settings import UnusableFile

log = logging.getLogger(__name__)

Handler = Callable[[AvtomatikaParts, Client, Request], Awaitable[Response]]


class Text(Convertor[str]):
    """A part of a path, as it is."""

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class ApiVersion(Text):
    """v and a number: anything else in its place is part of an endpoint."""

    regex = r"v[0-9]+(?:\.[0-9]+)*"


class FileName(Text):
    """All that follows, line ends too: what a file may be called is not for the router to say."""

    regex = r"(?s:.*)"


ANY: Final = ("GET", "PUT", "PATCH", "DELETE", "OPTIONS")
GRAPHVIZ: Final = "text/vnd.graphviz; charset=utf-8"


def routes(parts: AvtomatikaParts) -> list[Route]:
    """Each path with and without a version, the catch-all last."""
    register_url_convertor("apiversion", ApiVersion())
    register_url_convertor("filename", FileName())
    prefix = f"/{parts.settings.client_api_prefix}"
    found: list[Route] = []
    for base in (f"{prefix}/{{version:apiversion}}", prefix):
        for method, path, handler in ROUTES:
            found.append(Route(base + path, guarded(parts, _bound(parts, handler)), methods=[method]))
    rest = _Rest(list(found))
    for handler, methods in ((rest.post, ("POST",)), (rest.any, ANY)):
        for base in (f"{prefix}/{{version:apiversion}}", prefix):
            path = base + "/{endpoint:path}"
            found.append(Route(path, guarded(parts, _bound(parts, handler)), methods=methods))
    return found


class _Rest:
    """What no route takes: a blueprint's endpoint, else 405 where a path takes another method, else 404."""

    def __init__(self, routes: list[Route]) -> None:
        self._listed = routes

    async def post(self, parts: AvtomatikaParts, client: Client, request: Request) -> Response:
        try:
            return await submit(parts, client, request)
        except NoBlueprint:
            self._refuse(self._taken(request))
            raise

    async def any(self, parts: AvtomatikaParts, client: Client, request: Request) -> Response:
        taken = self._taken(request)
        version, endpoint = request.path_params.get("version"), str(request.path_params["endpoint"])
        if await parts.endpoints.find(client.tenant, version, endpoint) is not None:
            taken.add("POST")
        self._refuse(taken)
        raise Refused("Not Found", 404)

    def _taken(self, request: Request) -> set[str]:
        """The methods that routes take at the path. What is POSTed to /jobs/{name} is meant for a blueprint
        of that name, unless it is a job's id.
        """
        taken: set[str] = set()
        for route in self._listed:
            match, found = route.matches(request.scope)
            if match is not Match.PARTIAL:
                continue
            named = found["path_params"].get("job_id")
            if request.method == "POST" and route.path.endswith("{job_id}") and not _is_id(named):
                continue
            taken |= route.methods or set()
        return taken

    def _refuse(self, taken: set[str]) -> None:
        if taken:
            raise HTTPException(405, "Method Not Allowed", headers={"Allow": ", ".join(sorted(taken))})


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _bound(parts: AvtomatikaParts, handler: Handler) -> Callable[[Request, Client], Awaitable[Response]]:
    async def bound(request: Request, client: Client) -> Response:
        return await handler(parts, client, request)

    return bound


async def get_job(parts: AvtomatikaParts, client: Client, request: Request) -> Response:
    job = await find_job(parts, client, request.path_params["job_id"])
    state = job.state()
    if job.approvals:
        state["approval_url"] = approvals.link(parts.settings, job)
    return answer(_chosen(state, request.query_params.get("fields")))


def _chosen(state: Mapping[str, Any], fields: str | None) -> Mapping[str, Any]:
    """The members that were asked for; the id always."""
    if not fields:
        return dict(state)
    wanted = {field.strip() for field in fields.split(",")} | {"id"}
    return {name: value for name, value in state.items() if name in wanted}


async def cancel(parts: AvtomatikaParts, client: Client, request: Request) -> Response:
    job = await find_job(parts, client, request.path_params["job_id"])
    before = job.status
    if job.is_terminal and before != "cancelled":
        raise _terminal()
    worker = job.summary.worker if before == "running" else None
    try:
        done = await command(parts.dispatcher, job.id, "cancel", client.by, {"reason": ""})
    except CommandRefused as refusal:
        if refusal.code == "unavailable":
            raise
        raise _terminal() from refusal
    sent = worker is not None and done.changed and parts.hears_commands(worker)
    status = "cancellation_request_sent" if sent else "cancellation_request_accepted"
    view = {"status": status, "job_id": str(job.id), "cancelled": True, "previous_status": before}
    return answer({**view, "message": "Job cancelled"})


def _terminal() -> Refused:
    return Refused("Job not found or already terminal.", 404)


async def history(parts: AvtomatikaParts, client: Client, request: Request) -> Response:
    return answer(history_of(*await job_commits(parts, client, request.path_params["job_id"])))


async def list_jobs(parts: AvtomatikaParts, client: Client, request: Request) -> Response:
    limit, offset = _number(request, "limit", 100), _number(request, "offset", 0)
    return answer(await latest_events(parts, client, min(limit, 500), offset))


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Refused("Invalid limit/offset parameter", 400)
    return int(text)


async def graph(parts: AvtomatikaParts, client: Client, request: Request) -> Response:
    name = request.path_params["name"]
    try:
        definition = await parts.definitions.find(client.tenant, name, None, None)
    except UnknownWorkflow:
        raise Refused("Blueprint not found", 404) from None
    return Response(graph_of(name, definition.graph.document), headers={"Content-Type": GRAPHVIZ})


async def workers(parts: AvtomatikaParts, client: Client, request: Request) -> Response:
    return answer(await workers_of(parts))


async def catalog(parts: AvtomatikaParts, client: Client, request: Request) -> Response:
    return answer(skills_of(await workers_of(parts)))


async def get_dashboard(parts: AvtomatikaParts, client: Client, request: Request) -> Response:
    return answer(await dashboard(parts, client))


async def reload_workers(parts: AvtomatikaParts, client: Client, request: Request) -> Response:
    try:
        is_set = await asyncio.to_thread(parts.workers.reload)
    except UnusableFile as problem:
        log.error("%s; the tokens that were known still hold", problem)
        text = "The workers' file cannot be used; the tokens that were known still hold"
        raise Refused(text, 400) from problem
    if not is_set:
        raise Refused("WORKERS_CONFIG_PATH is not set", 400)
    return answer({"status": "worker_configs_reloaded"})


ROUTES: Final[tuple[tuple[str, str, Handler], ...]] = (
    ("GET", "/jobs", list_jobs),
    ("GET", "/jobs/{job_id}", get_job),
    ("POST", "/jobs/{job_id}/cancel", cancel),
    ("GET", "/jobs/{job_id}/history", history),
    ("GET", "/jobs/{job_id}/files/upload", file_routes.upload_link),
    ("PUT", "/jobs/{job_id}/files/content/{filename:filename}", file_routes.upload),
    ("GET", "/jobs/{job_id}/files/download/{filename:filename}", file_routes.download),
    ("GET", "/blueprints/{name}/graph", graph),
    ("GET", "/workers", workers),
    ("GET", "/workers/catalog", catalog),
    ("GET", "/dashboard", get_dashboard),
    ("POST", "/admin/reload-workers", reload_workers),
)
