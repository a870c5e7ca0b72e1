"""The paths at which jobs of a workflow may be submitted: `POST /api/{version}/{endpoint}`.

A graph names them under "meta" (`api_version`, `api_endpoint`). What other routes of the server have, or may
get, is nobody's. Authors hear of it when a blueprint is made, everybody else when a workflow is published.
"""

import re
from collections.abc import Mapping
from typing import Final

from shared.domain.errors import InvalidGraph
from shared.domain.values import Json

RESERVED: Final = frozenset(
    {"admin", "analytics", "auth", "blueprints", "dashboard", "health", "metrics", "robots", "schedules"}
    | {"tasks", "workers", "workflows", "ws"}
)
"""First segments of paths that are somebody else's. Below `jobs/` there is room for names."""
RESERVED_UNVERSIONED: Final = frozenset({"workflow"})
RESERVED_JOBS: Final = frozenset(
    {"bulk", "cancel", "claim", "complete", "extend-lease", "fail", "files", "history", "progress", "release"}
    | {"retry"}
)
LONGEST: Final = 200

_VERSION: Final = re.compile(r"v[0-9]+(?:\.[0-9]+)*")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._~-]+")


def endpoint_of(graph: Mapping[str, Json]) -> tuple[str | None, str] | None:
    """(version, endpoint) that a graph names, None when it names none."""
    meta = graph.get("meta")
    if not isinstance(meta, dict):
        return None
    version, endpoint = meta.get("api_version"), meta.get("api_endpoint")
    if not isinstance(endpoint, str) or not endpoint.strip("/"):
        return None
    return version if isinstance(version, str) and version else None, endpoint.strip("/")


def endpoint_problem(version: str | None, endpoint: str | None) -> str | None:
    """Why jobs cannot be submitted there, in words; None when they can."""
    if endpoint is None:
        return None
    if version is not None and not _VERSION.fullmatch(version):
        return f"its api_version {version!r} is not v and a number, like v1"
    segments = endpoint.split("/")
    if not all(_SEGMENT.fullmatch(segment) and segment.strip(".") for segment in segments):
        return f"its api_endpoint {endpoint!r} is not a path of letters, digits and . _ ~ -"
    if len(endpoint) > LONGEST:
        return f"its api_endpoint is longer than {LONGEST} characters"
    if version is None and _VERSION.fullmatch(segments[0]):
        return f"its api_endpoint {endpoint!r} begins like a version"
    if _is_reserved(segments, version):
        where = "/".join(part for part in ("/api", version, endpoint) if part)
        return f"its api_endpoint is reserved: {where} is, or may become, a route of the API"
    return None


def check_endpoint(graph: Mapping[str, Json]) -> None:
    """Raises InvalidGraph when the graph names an endpoint that cannot be, or that is another route's."""
    problem = endpoint_problem(*(endpoint_of(graph) or (None, None)))
    if problem is not None:
        raise InvalidGraph([problem])


def _is_reserved(segments: list[str], version: str | None) -> bool:
    first, *rest = segments
    if first == "jobs":
        return len(rest) != 1 or rest[0] in RESERVED_JOBS
    return first in RESERVED or (version is None and first in RESERVED_UNVERSIONED)
