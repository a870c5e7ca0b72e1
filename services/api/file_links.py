"""What a signed link to a file of ours leads to: GET (in parts, if asked for), HEAD, and PUT.

The link is all the right there is: no token is asked for, and none would help without it.
"""

import logging
import re
from collections.abc import AsyncIterator
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Final
from urllib.parse import quote
from uuid import UUID

from starlette.datastructures import Headers, QueryParams
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from services.api.bodies import ClientGone, streamed
from services.api.front import Dialect
from services.api.problems import CONTENT_TYPE, Problem
from services.api.translation import problem_of
from shared.application.files import (
    JOBS,
    FileMissing,
    Files,
    FilesError,
    FileTooLarge,
    Part,
    StoredFile,
    UnsafeName,
    key_of,
)
from shared.files.links import SEGMENT, Links

log = logging.getLogger(__name__)

ROUTE: Final = SimpleNamespace(path=f"/{SEGMENT}/{{key}}")
"""As metrics and logs know it: never the link itself."""


def links_of(files: Files, links: Links) -> Dialect:
    """The paths below /_files."""
    return Dialect(frozenset({SEGMENT}), FileLinks(files, links))


class FileLinks:
    """The ASGI application."""

    def __init__(self, files: Files, links: Links) -> None:
        self._files, self._links = files, links

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        scope["route"] = ROUTE
        try:
            response = await self._answered(scope, receive)
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001 (the last place that can answer; unknown ones are logged)
            response = _refused(error)
        await response(scope, receive, send)

    async def _answered(self, scope: Scope, receive: Receive) -> Response:
        method, headers = scope["method"], Headers(scope=scope)
        if method not in ("GET", "HEAD", "PUT"):
            raise Problem("method_not_allowed", headers=[("Allow", "GET, HEAD, PUT")])
        key = _key(scope["path"])
        signed_for = "PUT" if method == "PUT" else "GET"
        query = QueryParams(scope["query_string"])
        if key is None or not self._links.allows(key, signed_for, query):
            raise Problem("link_not_valid")
        if method == "PUT":
            length = headers.get("content-length")
            await self._files.put(key, streamed(receive), None if length is None else int(length))
            return Response()
        if method == "HEAD":
            file = await self._files.head(key)
            return Response(headers={**_described(file), "Content-Length": str(file.size)})
        return await self._content(key, headers)

    async def _content(self, key: str, headers: Headers) -> Response:
        asked = None if "if-range" in headers else headers.get("range")
        part = None
        if asked is not None:
            # One that cannot be understood is as if it was not there (RFC 9110, 14.2).
            size = (await self._files.head(key)).size
            part = part_of(asked, size)
            if part is not None and part.start >= size:
                raise Problem("range_not_satisfiable", headers=[("Content-Range", f"bytes */{size}")])
        content = await self._files.get(key, part)
        told = {**_described(content.file), "Content-Length": str(content.end - content.start)}
        if part is None:
            return _stream(content.chunks, 200, told)
        told["Content-Range"] = f"bytes {content.start}-{content.end - 1}/{content.file.size}"
        return _stream(content.chunks, 206, told)


def part_of(header: str, size: int) -> Part | None:
    """The one part that a Range header asks for; None when it is not that."""
    found = _RANGE.fullmatch(header)
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        last = int(found[2])
        return Part(size if last == 0 else max(0, size - last))
    if not found[2]:
        return Part(int(found[1]))
    start, end = int(found[1]), int(found[2]) + 1
    return Part(start, end) if start < end else None


def disposition_of(name: str) -> str:
    """Content-Disposition for a download that is to be called so (RFC 6266, RFC 8187)."""
    plain = _NOT_PLAIN.sub("_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


_RANGE: Final = re.compile(r"bytes=([0-9]{0,15})-([0-9]{0,15})")
_NOT_PLAIN: Final = re.compile(r"[^A-Za-z0-9 ._()+,=@!-]")


def _key(path: str) -> str | None:
    """The key in a path, if it is one that a link may be made for."""
    key = path.removeprefix(f"/{SEGMENT}/")
    job, _, name = key.removeprefix(JOBS).partition("/")
    try:
        return key if key_of(UUID(job), name) == key else None
    except (ValueError, UnsafeName):
        return None


def _described(file: StoredFile) -> dict[str, str]:
    described = {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": disposition_of(file.key.rpartition("/")[2]),
        "Last-Modified": format_datetime(file.modified, usegmt=True),
        "Accept-Ranges": "bytes",
    }
    return described if file.etag is None else {**described, "ETag": f'"{file.etag}"'}


def _stream(chunks: AsyncIterator[bytes], status: int, headers: dict[str, str]) -> Response:
    return StreamingResponse(chunks, status, headers)


def _refused(error: Exception) -> Response:
    match error:
        case FileMissing():
            problem = Problem("file_not_found")
        case FileTooLarge():
            problem = Problem("body_too_large", f"The limit is {error.limit} bytes.", headers=_CLOSE)
        case UnsafeName():
            problem = Problem("invalid", f"No file may have that name: {error.why}.")
        case FilesError():
            log.error("a file was not served: %s", error)
            problem = Problem("files_unavailable")
        case _:
            problem = problem_of(error)
    return Response(problem.body(), problem.status, dict(problem.headers), media_type=CONTENT_TYPE)


_CLOSE: Final = [("Connection", "close")]
