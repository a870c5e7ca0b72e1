"""The clients' routes to their jobs' files: a link to upload, an upload through us, a link to download."""

import logging
import re
from hashlib import sha256
from typing import Final
from urllib.parse import urljoin
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from services.api.bodies import streamed
from services.api.dialects.avtomatika.answers import Refused, answer
from services.api.dialects.avtomatika.clients import Client
from services.api.dialects.avtomatika.guard import job_commits
from services.api.dialects.avtomatika.parts import AvtomatikaParts
from shared.application.files import (
    LONGEST_LINK_SECONDS,
    Files,
    FileTooLarge,
    StoreFailed,
    UnsafeName,
    key_of,
)
from shared.settings import Settings

log = logging.getLogger(__name__)

DOWNLOAD_SECONDS: Final = 60
"""How long the link is good that a download leads to; the path that leads there stays."""
EXPIRES_IN: Final = "3600"
AS_ASKED: Final = "daybook.path_as_asked"
"""In a request's scope: the path before extra slashes were taken out, if any were."""


async def upload_link(parts: AvtomatikaParts, client: Client, request: Request) -> Response:
    """A link by which a file can be put into the store without passing through here."""
    try:
        seconds = int(request.query_params.get("expires_in", EXPIRES_IN))
    except ValueError:
        raise Refused("expires_in must be an integer", 400) from None
    name = request.query_params.get("filename")
    if not name:
        raise Refused("job_id and filename (query param) are required", 400)
    files, job = await _opened(parts, client, request)
    if not 1 <= seconds <= LONGEST_LINK_SECONDS:
        raise Refused(f"expires_in must be from 1 to {LONGEST_LINK_SECONDS}", 400)
    link = files.link(_key(job, name), "PUT", seconds)
    return answer({"url": urljoin(str(request.base_url), link), "expires_in": seconds, "method": "PUT"})


async def upload(parts: AvtomatikaParts, client: Client, request: Request) -> Response:
    """A body that goes to the store as it comes."""
    files, job = await _opened(parts, client, request)
    key = _key(job, _name(request))
    length = request.headers.get("content-length")
    try:
        await files.put(key, streamed(request.receive), None if length is None else int(length))
    except FileTooLarge as error:
        text = f"File too large: the limit is {error.limit} bytes"
        raise Refused(text, 413, {"Connection": "close"}) from error
    except UnsafeName as error:
        raise Refused(f"Invalid filename: {error.why}", 400) from error
    except StoreFailed as error:
        log.error("a file of job %s was not stored: %s", job, error)
        raise Refused("The file could not be stored", 500) from error
    return answer({"status": "uploaded", "s3_uri": f"s3://{files.bucket}/{key}"})


async def download(parts: AvtomatikaParts, client: Client, request: Request) -> Response:
    """To a fresh link: this path can be kept for as long as the file is there."""
    files, job = await _opened(parts, client, request)
    link = files.link(_key(job, _name(request)), "GET", DOWNLOAD_SECONDS)
    return Response(status_code=302, headers={"Location": link})


def config_hash(settings: Settings) -> str | None:
    """By which workers and we can tell whether we mean the same bucket; None when there is none."""
    parts = (settings.s3_endpoint, settings.s3_access_key, settings.s3_bucket)
    if not all(parts) or not settings.s3_secret_key:
        return None
    return sha256("|".join(parts).encode()).hexdigest()[:16]


async def _opened(parts: AvtomatikaParts, client: Client, request: Request) -> tuple[Files, UUID]:
    """The store and the job, which must be the client's: whose it is comes before whether there are files."""
    job, _ = await job_commits(parts, client, request.path_params["job_id"])
    if parts.files is None:
        raise Refused("S3 support is not enabled", 501)
    return parts.files, job


def _name(request: Request) -> str:
    """The name in the path, as it was asked for: extra slashes in it are a mistake, or worse."""
    asked = request.scope.get(AS_ASKED)
    found = None if asked is None else _NAME.search(asked)
    return found[1] if found is not None else str(request.path_params["filename"])


_NAME: Final = re.compile(r"/files/+(?:content|download)/(.*)", re.DOTALL)


def _key(job: UUID, name: str) -> str:
    try:
        return key_of(job, name)
    except UnsafeName as error:
        raise Refused(f"Invalid filename: {error.why}", 400) from error
