"""A job's events as they happen, as Server-Sent Events (WHATWG HTML, section 9.2).

Written on a plain streaming response: the library for it patches uvicorn's shutdown for the whole process.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Header
from starlette.responses import StreamingResponse

from services.api.access import Allowed
from services.api.principals import Principal
from services.api.problems import Problem
from services.api.reads import Jobs
from services.api.views import events_of
from services.api.waiting import fold
from services.api.watch import Follower, Watch, WatchLost
from shared.application.ports import Journal, StoredCommit
from shared.application.summary import JobSummary

HEARTBEAT_SECONDS: Final = 15.0

Reader = Annotated[Principal, Depends(Allowed("jobs.read"))]


def event_routes(
    jobs: Jobs, journal: Journal, follower: Follower, heartbeat_seconds: float = HEARTBEAT_SECONDS
) -> APIRouter:
    """GET /v1/jobs/{id}/events."""
    router = APIRouter(prefix="/v1", tags=["jobs"])

    @router.get(
        "/jobs/{job_id}/events",
        summary="A job's events as Server-Sent Events, until it ends",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}}},
    )
    async def events(
        principal: Reader, job_id: str, last_event_id: Annotated[str | None, Header()] = None
    ) -> StreamingResponse:
        after = _sequence(last_event_id)
        summary = await jobs.find(principal, job_id)
        stream = _stream(journal, follower, UUID(summary.id), after, heartbeat_seconds)
        return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    return router


async def _stream(
    journal: Journal, follower: Follower, job: UUID, after: int, heartbeat_seconds: float
) -> AsyncIterator[bytes]:
    """What was stored behind stream sequence `after`, then what comes, then the end of the job."""
    async with follower.watch(job) as watch:
        summary = JobSummary(id=str(job))
        commits = await journal.history("job", job)
        while True:
            if not fold(summary, commits):
                # A gap: the follower began behind something the history did not show yet. A fresh read
                # fills it.
                summary, commits = JobSummary(id=str(job)), await journal.history("job", job)
                continue
            for commit in commits:
                if commit.sequence > after:
                    after = commit.sequence
                    yield _frame(commit)
            if summary.is_ended:
                return
            try:
                commits = await _next(watch, heartbeat_seconds)
            except WatchLost:
                return  # the client comes again with Last-Event-ID
            if not commits:
                yield b": alive\n\n"


async def _next(watch: Watch, seconds: float) -> list[StoredCommit]:
    """The next commits, or none when `seconds` passed in silence."""
    try:
        async with asyncio.timeout(seconds):
            return await watch.next()
    except TimeoutError:
        return []


def _frame(commit: StoredCommit) -> bytes:
    """The events of one commit. The id stands at the last: a client that lost half a commit gets all of it
    again.
    """
    events = list(events_of([commit]))
    frames = [b"event: %s\ndata: %s\n" % (event["type"].encode(), orjson.dumps(event)) for event in events]
    return b"\n".join(frames) + b"id: %d\n\n" % commit.sequence


def _sequence(last_event_id: str | None) -> int:
    if not last_event_id:
        return 0
    if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 20):
        raise Problem("malformed_request", "Last-Event-ID is the id of an event of this stream.")
    return int(last_event_id)
