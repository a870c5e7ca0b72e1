"""Publishing and reading workflows."""

import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from services.api.access import Allowed, body_of, json
from services.api.bodies import decoder_of
from services.api.models import NAME_PATTERN, PublishWorkflow
from services.api.openapi import takes
from services.api.principals import Principal
from services.api.problems import Problem
from services.api.reads import Reads
from shared.application.definitions import Definitions, UnknownWorkflow
from shared.application.publish_workflow import PublishWorkflow as PublishUse

Reader = Annotated[Principal, Depends(Allowed("workflows.read"))]
Publisher = Annotated[Principal, Depends(Allowed("workflows.publish"))]


def workflow_routes(publish: PublishUse, definitions: Definitions, reads: Reads) -> APIRouter:
    """The routes under /v1/workflows."""
    router = APIRouter(prefix="/v1", tags=["workflows"])

    @router.put(
        "/workflows/{name}",
        summary="Publish a workflow; the same graph again makes no new version",
        responses={201: {"description": "A new version"}},
        openapi_extra=takes(PublishWorkflow),
    )
    async def put_workflow(principal: Publisher, name: str, request: Request) -> Response:
        if not _NAME.fullmatch(name):
            raise Problem("invalid", f"A workflow's name matches {NAME_PATTERN}.")
        body = await body_of(request, _PUBLISH)
        published = await publish(principal.tenant, name, body.graph, principal.by)
        view = {
            "name": name,
            "version": published.version,
            "definition": published.definition,
            "sequence": published.sequence,
        }
        headers = {"Location": f"/v1/workflows/{name}", "ETag": f'"{published.definition}"'}
        return json(view, 201 if published.created else 200, headers)

    @router.get("/workflows", summary="All workflows")
    async def list_workflows(principal: Reader) -> Response:
        workflows = await reads.workflows(principal.tenant)
        return json({"items": [workflow.to_public() for workflow in workflows], "next": None})

    @router.get("/workflows/{name}", summary="One workflow with its graph")
    async def get_workflow(
        principal: Reader, name: str, version: Annotated[int | None, Query(ge=1, lt=2**63)] = None
    ) -> Response:
        try:
            found = await definitions.find(principal.tenant, name, version, None)
        except UnknownWorkflow as error:
            raise Problem("workflow_not_found", str(error)) from error
        view: dict[str, Any] = {
            "name": name,
            "version": found.version,
            "definition": found.hash,
            "graph": found.graph.document,
        }
        return json(view, 200, {"ETag": f'"{found.hash}"'})

    return router


_NAME: Final = re.compile(NAME_PATTERN)
_PUBLISH: Final = decoder_of(PublishWorkflow)
