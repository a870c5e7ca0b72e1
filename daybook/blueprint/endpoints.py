"""The path at which jobs of a blueprint are submitted: `POST /api/{version}/{endpoint}`."""

import re
from typing import Final

RESERVED: Final = (
    "admin",
    "analytics",
    "auth",
    "blueprints",
    "dashboard",
    "health",
    "jobs",
    "metrics",
    "robots",
    "schedules",
    "tasks",
    "workers",
    "workflow",
    "workflows",
)
"""First segments of paths that are somebody else's. Below `jobs/` there is room for names."""

RESERVED_LAST: Final = (
    "cancel",
    "claim",
    "complete",
    "extend-lease",
    "fail",
    "files",
    "history",
    "progress",
    "release",
    "retry",
)
_VERSION: Final = re.compile(r"v[0-9][0-9A-Za-z._-]*")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._~-]+")


def endpoint_of(given: str | None) -> str | None:
    """The endpoint without slashes around it."""
    return (given or "").strip("/") or None


def endpoint_problem(version: str | None, endpoint: str | None) -> str | None:
    """Why jobs cannot be submitted there, in words; None when they can."""
    if endpoint is None:
        return None
    if version is not None and not _VERSION.fullmatch(version):
        return f"its api_version {version!r} is not v and a number"
    segments = endpoint.split("/")
    if not all(_SEGMENT.fullmatch(segment) and segment.strip(".") for segment in segments):
        return f"its api_endpoint {endpoint!r} is not a path of letters, digits and . _ ~ -"
    if version is None and _VERSION.fullmatch(segments[0]):
        return f"its api_endpoint {endpoint!r} begins like a version"
    below_jobs = segments[0] == "jobs" and len(segments) > 1
    if (segments[0] in RESERVED and not below_jobs) or segments[-1] in RESERVED_LAST:
        where = "/".join(part for part in ("/api", version, endpoint) if part)
        return f"its api_endpoint is reserved: {where} is a route of the API"
    return None
