"""The parts of the OpenAPI document that the framework cannot see: bodies read by hand, and hot routes."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from services.api.models import Approve, Cancel, Nothing, PublishWorkflow, Signal, SubmitJob, SubmitJobs
from services.api.problems import CONTENT_TYPE, KINDS

_REF: Final = "#/components/schemas/{name}"
_MODELS: Final = (SubmitJob, SubmitJobs, Cancel, Nothing, Approve, Signal, PublishWorkflow)


OPEN: Final[dict[str, Any]] = {"security": []}
"""The OpenAPI piece of a route that asks for no token."""


def takes(model: type[msgspec.Struct], *, required: bool = True) -> dict[str, Any]:
    """The OpenAPI piece of a route that reads `model` itself."""
    reference = {"$ref": _REF.format(name=model.__name__)}
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": reference}}}}


def document_of(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """A function for `app.openapi` that adds what the framework does not know, once."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _complete(
                get_openapi(title=app.title, version=app.version, routes=app.routes)
            )
        return app.openapi_schema

    return document


def _complete(document: dict[str, Any]) -> dict[str, Any]:
    _, schemas = msgspec.json.schema_components(_MODELS, ref_template=_REF)
    components = document.setdefault("components", {})
    # The framework documents its own validation error, which nobody gets here.
    kept = {
        name: schema
        for name, schema in components.get("schemas", {}).items()
        if name not in ("HTTPValidationError", "ValidationError")
    }
    # A bulk item is checked as a SubmitJob, but kept raw until then.
    schemas["SubmitJobs"]["properties"]["jobs"]["items"] = {"$ref": _REF.format(name="SubmitJob")}
    schemas["SubmitJob"]["oneOf"] = [
        {"required": [name], "properties": {name: {"type": "string"}}} for name in ("workflow", "skill")
    ]
    components["schemas"] = {**kept, **schemas, "Problem": _PROBLEM}
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"bearer": []}]
    paths = document["paths"]
    paths.setdefault("/v1/jobs", {})["post"] = _SUBMIT
    paths["/v1/jobs/bulk"] = {"post": _BULK}
    for operations in paths.values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = _DEFAULT
    return document


_PROBLEM: Final[dict[str, Any]] = {
    "title": "Problem",
    "description": "RFC 9457 problem details",
    "type": "object",
    "required": ["type", "title", "status", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "enum": sorted(KINDS)},
        "detail": {"type": "string"},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}
_DEFAULT: Final[dict[str, Any]] = {
    "description": "A problem",
    "content": {CONTENT_TYPE: {"schema": {"$ref": _REF.format(name="Problem")}}},
}
_KEY: Final[dict[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key with the same body gives the same job; with another body it is refused.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}
KEYED: Final[dict[str, Any]] = {"parameters": [_KEY]}
"""The OpenAPI piece of a route that reads an Idempotency-Key itself."""
_ACCEPTED: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["job_id", "sequence", "status"],
    "properties": {
        "job_id": {"type": "string", "format": "uuid"},
        "sequence": {"type": "integer"},
        "status": {"type": "string"},
    },
}
_SUBMIT: Final[dict[str, Any]] = {
    "tags": ["jobs"],
    "summary": "Submit a job",
    "operationId": "submit_job",
    "parameters": [
        _KEY,
        {
            "name": "Prefer",
            "in": "header",
            "description": "wait=SECONDS answers 200 with the ended job when it ends in time",
            "schema": {"type": "string"},
        },
    ],
    **takes(SubmitJob),
    "responses": {
        "202": {"description": "Accepted", "content": {"application/json": {"schema": _ACCEPTED}}},
        "200": {"description": "Ended while the client waited", "content": {"application/json": {}}},
    },
}
_BULK: Final[dict[str, Any]] = {
    "tags": ["jobs"],
    "summary": "Submit up to 1,000 jobs",
    "operationId": "submit_jobs",
    "parameters": [_KEY],
    **takes(SubmitJobs),
    "responses": {
        "200": {"description": "An answer or a problem for each", "content": {"application/json": {}}}
    },
}
