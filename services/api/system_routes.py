"""The server about itself: workers, counts, health, metrics, and an index of where things are."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from starlette.responses import PlainTextResponse, Response

from services.api.access import Allowed, json
from services.api.metrics import CONTENT_TYPE, Metrics
from services.api.openapi import OPEN
from services.api.principals import Principal
from services.api.problems import Problem
from services.api.reads import Reads
from shared.application.summary import STATUSES

CHECK_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Checked:
    """What one check of readiness found; `detail` is for people."""

    ok: bool
    detail: str


Check = Callable[[], Awaitable[Checked]]


def system_routes(reads: Reads, checks: Mapping[str, Check], metrics: Metrics) -> APIRouter:
    """Everything that is not a job or a workflow."""
    router = APIRouter(tags=["system"])

    @router.get("/", summary="Where things are", openapi_extra=OPEN)
    async def index() -> Response:
        return json(_INDEX)

    @router.get("/v1/workers", summary="Workers and what they can do")
    async def workers(principal: Annotated[Principal, Depends(Allowed("workers.read"))]) -> Response:
        return json({"items": [worker.to_public() for worker in await reads.workers()], "next": None})

    @router.get("/v1/stats", summary="How many jobs are in each status")
    async def stats(principal: Annotated[Principal, Depends(Allowed("stats.read"))]) -> Response:
        counts = await reads.counts(principal.tenant)
        by_status = {status: counts.get(status, 0) for status in STATUSES}
        view = {"jobs": by_status, "total": sum(by_status.values()), "sequence": await reads.position()}
        return json(view)

    @router.get(
        "/metrics",
        summary="Counters in the text format of Prometheus",
        response_class=PlainTextResponse,
        openapi_extra=OPEN,
    )
    async def get_metrics() -> Response:
        return Response(metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    async def live() -> Response:
        return json({"status": "ok"})

    async def ready() -> Response:
        results = await look(checks)
        view: dict[str, Any] = {
            name: {"ok": result.ok, "detail": result.detail} for name, result in results.items()
        }
        if not all(result.ok for result in results.values()):
            failed = [f"{name}: {result.detail}" for name, result in results.items() if not result.ok]
            problem = Problem("not_ready", "; ".join(failed), headers=[("Retry-After", "1")])
            content = {**problem.as_dict(), "checks": view}
            return json(content, 503, {"Retry-After": "1", "Content-Type": "application/problem+json"})
        return json({"status": "ok", "checks": view})

    for answer, summary, paths in (
        (live, "Whether the process runs", ("/v1/health/live", "/livez")),
        (ready, "Whether it can do its work", ("/v1/health/ready", "/readyz")),
    ):
        for path in paths:
            router.add_api_route(path, answer, summary=summary, name=path, openapi_extra=OPEN)
    return router


async def look(checks: Mapping[str, Check]) -> dict[str, Checked]:
    """What each check finds now, all at once; one that breaks or is silent has not held."""
    found = await asyncio.gather(*(_checked(check) for check in checks.values()))
    return dict(zip(checks, found, strict=True))


async def _checked(check: Check) -> Checked:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await check()
    except TimeoutError:
        return Checked(False, f"no answer in {CHECK_SECONDS:g} s")
    except Exception as error:  # noqa: BLE001 (whatever breaks a check is what the check found)
        return Checked(False, f"{type(error).__name__}: {error}")


_INDEX: Final = {
    "name": "daybook",
    "jobs": "/v1/jobs",
    "workflows": "/v1/workflows",
    "workers": "/v1/workers",
    "stats": "/v1/stats",
    "live": "/v1/health/live",
    "ready": "/v1/health/ready",
    "metrics": "/metrics",
    "openapi": "/openapi.json",
}
