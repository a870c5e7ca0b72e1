"""The routes under /_public: status, metrics, approvals, documentation, and what only development may do."""

from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from services.api.dialects.avtomatika import approvals
from services.api.dialects.avtomatika.answers import Refused, answer, shown
from services.api.dialects.avtomatika.clients import Client
from services.api.dialects.avtomatika.docs_page import HEADERS, page
from services.api.dialects.avtomatika.guard import document_of, find_job, guarded, limited, token_of
from services.api.dialects.avtomatika.parts import AvtomatikaParts
from services.api.dialects.avtomatika.public_metrics import PublicMetrics
from services.api.dialects.avtomatika.views import quarantined
from services.api.metrics import CONTENT_TYPE
from shared.application.blueprint_jobs import BlueprintJob
from shared.application.commands import CommandRefused, command
from shared.domain.values import DEFAULT_TENANT

NOT_WAITING: Final = "Job is not in a state that can be approved"


def routes(parts: AvtomatikaParts) -> list[BaseRoute]:
    """The routes; flushing is there in the dev profile only."""
    metrics = PublicMetrics(parts.metrics, parts.reads)

    async def status(request: Request) -> Response:
        return answer({"status": "ok"})

    async def get_metrics(request: Request) -> Response:
        return Response(await metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    async def docs(request: Request) -> Response:
        text = page(parts.settings.client_api_prefix, parts.endpoints.of(DEFAULT_TENANT))
        return HTMLResponse(text, headers=HEADERS)

    async def approve(request: Request) -> Response:
        told = limited(parts, request)
        client, token = await _asking(parts, request)
        job_id = request.path_params["job_id"]
        body = await document_of(parts, request)
        decision = body.get("decision")
        if not isinstance(decision, str) or not decision:
            raise Refused("decision is required in body", 400)
        job = await find_job(parts, client, job_id)
        await _decide(parts, job, client, token, decision)
        return answer({"status": "approval_received", "job_id": str(job.id)}, headers=told)

    async def list_quarantined(request: Request, client: Client) -> Response:
        return answer([shown(job.state()) for job in await quarantined(parts, client)])

    found: list[BaseRoute] = [
        Route("/_public/status", status, methods=["GET"]),
        Route("/_public/metrics", get_metrics, methods=["GET"]),
        Route("/_public/docs", docs, methods=["GET"]),
        Route("/_public/webhooks/approval/{job_id}", approve, methods=["POST"]),
        Route("/_public/jobs/quarantined", guarded(parts, list_quarantined), methods=["GET"]),
    ]
    if parts.dev and parts.flush is not None:
        flush = parts.flush

        async def flush_db(request: Request) -> Response:
            await flush()
            return answer({"status": "db_flushed"})

        found.append(Route("/_public/debug/flush_db", flush_db, methods=["POST"]))
    return found


async def _asking(parts: AvtomatikaParts, request: Request) -> tuple[Client | None, str | None]:
    """Who decides: a client by its token, whoever holds a link, in development anybody. Raises Refused."""
    token = token_of(request)
    if token is not None:
        return parts.clients.find(token), None
    link = request.query_params.get("token")
    if link is None and not parts.dev:
        raise Refused("Client authentication required", 401)
    return None, link


async def _decide(
    parts: AvtomatikaParts, job: BlueprintJob, client: Client | None, link: str | None, decision: str
) -> None:
    if link is not None:
        activation = approvals.granted(parts.settings, job, link)
        if activation is None:
            raise Refused("The link is not valid (any more)", 403)
        waits = [job.approvals[activation]] if activation in job.approvals else []
    else:
        waits = [job.approvals[number] for number in sorted(job.approvals)]
    if not waits:
        raise Refused(NOT_WAITING, 409)
    wait = next((wait for wait in waits if decision in (wait.get("decisions") or ())), None)
    if wait is None:
        raise Refused(f"Invalid decision '{decision[:200]}' for this job", 400)
    by = client.by if client is not None else "client:approval-link" if link is not None else "client:anybody"
    fields = {"decision": decision, "name": wait["name"]}
    try:
        await command(parts.dispatcher, job.id, "approve", by, fields)
    except CommandRefused as refusal:
        if refusal.code == "unavailable":
            raise
        raise Refused(NOT_WAITING, 409) from refusal
