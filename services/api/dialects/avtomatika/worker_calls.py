"""A request of a worker: who asks, what it says, and the two forms of an answer."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec
import orjson
from starlette.types import Receive, Scope

from services.api.bodies import BodyLimits, inspect, read_body
from services.api.connection import CERTIFIED
from services.api.dialects.avtomatika.token_tables import token_of_header
from services.api.front import Answer
from services.api.problems import Problem

T = TypeVar("T")

LIMITS: Final = BodyLimits(max_bytes=4 * 1024 * 1024, max_keys=100_000)
"""Of what a worker sends; a result may be larger than what clients submit."""


class Call:
    """One request: who asks, and what."""

    __slots__ = ("certified", "headers", "receive", "scope", "token", "worker")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope, self.receive = scope, receive
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        token, worker = self.headers.get(b"x-worker-token"), self.headers.get(b"x-worker-id")
        self.token = None if token is None else token_of_header(token)
        self.worker = None if worker is None else worker.decode("latin-1")
        self.certified: str | None = scope.get(CERTIFIED)

    async def body(self) -> bytes:
        """The whole body, whatever it calls itself. Raises Problem, ClientGone."""
        headers = {name: value for name, value in self.headers.items() if name != b"content-type"}
        body = await read_body(self.receive, headers, LIMITS)
        inspect(body, LIMITS)
        return body


def decoded(decode: Callable[[bytes], T], body: bytes, model: str) -> T:
    """The body as a model, which is called `model`. Raises Problem."""
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        raise Problem("malformed_request", f"Invalid {model} payload: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem("malformed_json", f"Invalid JSON body: {error}") from error


def document_of(body: bytes) -> dict[str, Any]:
    """The body, which must be an object. Raises Problem."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem("malformed_json", f"Invalid JSON body: {error}") from error
    if not isinstance(document, dict):
        raise Problem("malformed_request", "Invalid payload: it must be an object")
    return document


def said_worker(body: bytes) -> str | None:
    """The `worker_id` in the body. Raises Problem."""
    worker = document_of(body).get("worker_id")
    return worker if isinstance(worker, str) else None


def check_name(worker: str) -> None:
    """Whether a worker may be called so. Raises Problem."""
    if _NAME.fullmatch(worker) is None:
        text = "Must be alphanumeric, underscores, or hyphens only."
        raise Problem("malformed_request", f"Invalid worker_id: '{worker[:200]}'. {text}")


def accepted(content: Mapping[str, Any]) -> Answer:
    return Answer(200, orjson.dumps(content, option=orjson.OPT_SORT_KEYS), [], JSON)


def refused(text: str, status: int) -> Answer:
    return Answer(status, orjson.dumps({"error": text}), [], JSON)


JSON: Final = b"application/json; charset=utf-8"
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,200}")
