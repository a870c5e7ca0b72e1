"""Reading jobs, and commands to them."""

import re
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from services.api.access import Allowed, body_of, json
from services.api.bodies import decoder_of
from services.api.models import Approve, Cancel, Nothing, Signal
from services.api.openapi import KEYED, takes
from services.api.principals import Principal
from services.api.problems import retry_after
from services.api.reads import CATCH_UP_SECONDS, Jobs, Reads, job_id_of_path, no_such_job
from services.api.retrying import Retrying
from services.api.submit_routes import idempotency_key
from services.api.views import events_of, listed, public
from shared.application.clock import to_us
from shared.application.commands import CommandName, Dispatcher, command
from shared.application.ports import Journal
from shared.application.summary import STATUSES
from shared.readmodels.queries import JobFilter

Reader = Annotated[Principal, Depends(Allowed("jobs.read"))]
Commander = Annotated[Principal, Depends(Allowed("jobs.command"))]
Submitter = Annotated[Principal, Depends(Allowed("jobs.submit"))]

_STATUS: Final = rf"^(?:{'|'.join(STATUSES)})$"
_TEXT: Final = r"^[^\x00-\x1f\x7f]+$"
_DATE_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]")
SignalName = Annotated[str, Path(pattern=_TEXT, max_length=200)]


def _dated(text: str) -> str:
    """The text itself; pydantic alone would read a bare number as seconds since the epoch."""
    if not _DATE_TIME.match(text):
        raise ValueError("is a date and time with an offset, as in 2026-01-31T08:00:00Z")
    return text


Moment = Annotated[AwareDatetime, BeforeValidator(_dated)]


class JobQuery(BaseModel):
    """The filters of a list. All given must hold; a repeated `status` means any of them, a repeated `tag`
    all.
    """

    model_config = ConfigDict(extra="forbid")

    status: list[Annotated[str, Field(pattern=_STATUS)]] = Field(default=[], max_length=20)
    workflow: str | None = Field(default=None, pattern=_TEXT, max_length=200)
    skill: str | None = Field(default=None, pattern=_TEXT, max_length=200)
    alias: str | None = Field(default=None, pattern=_TEXT, max_length=200)
    tag: list[Annotated[str, Field(pattern=r"^[^=\x00-\x1f\x7f]{1,64}=[^\x00-\x1f\x7f]{1,200}$")]] = Field(
        default=[], max_length=10
    )
    created_after: Moment | None = None
    created_before: Moment | None = None
    parent: UUID | None = None
    limit: int = Field(default=50, ge=1, le=500)
    cursor: str | None = Field(default=None, max_length=500)
    min_sequence: int = Field(default=0, ge=0, lt=2**63)

    def filter(self, tenant: str) -> JobFilter:
        pairs = (text.partition("=") for text in self.tag)
        return JobFilter(
            tenant=tenant,
            statuses=frozenset(self.status),
            workflow=self.workflow,
            skill=self.skill,
            alias=self.alias,
            tags=tuple((name, value) for name, _, value in pairs),
            created_from=None if self.created_after is None else to_us(self.created_after) + 1,
            created_before=None if self.created_before is None else to_us(self.created_before),
            parent=self.parent,
        )


def job_routes(
    jobs: Jobs, reads: Reads, journal: Journal, dispatcher: Dispatcher, retrying: Retrying
) -> APIRouter:
    """The routes under /v1/jobs but for submitting, which is in `submit_routes`."""
    router = APIRouter(prefix="/v1", tags=["jobs"])

    @router.get("/jobs", summary="List jobs, newest first")
    async def list_jobs(principal: Reader, query: Annotated[JobQuery, Query()]) -> Response:
        if query.min_sequence and not await reads.wait_for(query.min_sequence, CATCH_UP_SECONDS):
            raise retry_after("read_model_behind", f"It has not seen sequence {query.min_sequence}.")
        page = await reads.page(query.filter(principal.tenant), query.limit, query.cursor)
        return json({"items": [listed(summary) for summary in page.jobs], "next": page.next})

    @router.get("/jobs/{job_id}", summary="One job")
    async def get_job(
        principal: Reader, job_id: str, min_sequence: Annotated[int, Query(ge=0, lt=2**63)] = 0
    ) -> Response:
        return json(public(await jobs.find(principal, job_id, min_sequence)))

    @router.get("/jobs/{job_id}/history", summary="All events of a job, with gapless versions")
    async def history(principal: Reader, job_id: str) -> Response:
        commits = await journal.history("job", job_id_of_path(job_id))
        # The first event of a job is JobAccepted, which names the tenant.
        if not commits or commits[0].events[0][1].get("tenant", "") != principal.tenant:
            raise no_such_job(job_id)
        return json(list(events_of(commits)))

    async def decide(principal: Principal, job_id: str, what: CommandName, /, **fields: Any) -> Response:
        summary = await jobs.find(principal, job_id)
        answer = await command(dispatcher, UUID(summary.id), what, principal.by, fields)
        return json(
            {
                "job_id": summary.id,
                "sequence": answer.sequence,
                "status": answer.status,
                "changed": answer.changed,
            }
        )

    @router.post("/jobs/{job_id}/cancel", summary="End a job", openapi_extra=takes(Cancel, required=False))
    async def cancel(principal: Commander, job_id: str, request: Request) -> Response:
        body = await body_of(request, _CANCEL, empty=b"{}")
        return await decide(principal, job_id, "cancel", reason=body.reason or "")

    @router.post(
        "/jobs/{job_id}/pause", summary="Release nothing new", openapi_extra=takes(Nothing, required=False)
    )
    async def pause(principal: Commander, job_id: str, request: Request) -> Response:
        await body_of(request, _NOTHING, empty=b"{}")
        return await decide(principal, job_id, "pause")

    @router.post("/jobs/{job_id}/resume", summary="Go on", openapi_extra=takes(Nothing, required=False))
    async def resume(principal: Commander, job_id: str, request: Request) -> Response:
        await body_of(request, _NOTHING, empty=b"{}")
        return await decide(principal, job_id, "resume")

    @router.post("/jobs/{job_id}/approve", summary="Answer an approval", openapi_extra=takes(Approve))
    async def approve(principal: Commander, job_id: str, request: Request) -> Response:
        body = await body_of(request, _APPROVE)
        return await decide(principal, job_id, "approve", decision=body.decision, name=body.name)

    @router.post(
        "/jobs/{job_id}/signals/{name}", summary="Send a signal", openapi_extra=takes(Signal, required=False)
    )
    async def signal(principal: Commander, job_id: str, name: SignalName, request: Request) -> Response:
        body = await body_of(request, _SIGNAL, empty=b"{}")
        return await decide(principal, job_id, "signal", name=name, payload=body.payload)

    @router.post(
        "/jobs/{job_id}/retry",
        summary="Run an ended job again, as a new job",
        status_code=202,
        openapi_extra={**takes(Nothing, required=False), **KEYED},
    )
    async def retry(principal: Submitter, job_id: str, request: Request) -> Response:
        await body_of(request, _NOTHING, empty=b"{}")
        key = idempotency_key(dict(request.scope["headers"]))
        submitted = await retrying(principal, await jobs.find(principal, job_id), key)
        view = {
            "job_id": str(submitted.id),
            "sequence": submitted.sequence,
            "status": submitted.status,
            "retry_of": job_id,
        }
        return json(view, 202, {"Location": f"/v1/jobs/{submitted.id}"})

    return router


_CANCEL: Final = decoder_of(Cancel)
_NOTHING: Final = decoder_of(Nothing)
_APPROVE: Final = decoder_of(Approve)
_SIGNAL: Final = decoder_of(Signal)
