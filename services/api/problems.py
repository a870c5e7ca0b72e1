"""Errors as RFC 9457 problem details. The table below is the one list of what can go wrong at this door.

`code` is stable and for programs; `type` is the same word as a URN; `title` never changes for a code and
`detail` tells this case. A dialect with a body of its own writes it from the same `Problem`.
"""

import re
from collections.abc import Sequence
from typing import Final, TypedDict

import msgspec
import orjson

CONTENT_TYPE: Final = "application/problem+json"

KINDS: Final[dict[str, tuple[int, str]]] = {
    "malformed_json": (400, "The body is not JSON"),
    "malformed_request": (400, "The request is not well formed"),
    "unauthenticated": (401, "A valid token is needed"),
    "forbidden": (403, "This token may not do that"),
    "link_not_valid": (403, "The link is not valid (any more)"),
    "not_found": (404, "There is nothing here"),
    "job_not_found": (404, "There is no such job"),
    "file_not_found": (404, "There is no such file"),
    "workflow_not_found": (404, "There is no such workflow"),
    "method_not_allowed": (405, "This path does not take that method"),
    "body_too_slow": (408, "The body did not arrive in time"),
    "illegal_transition": (409, "The job's state does not allow it"),
    "conflict": (409, "Somebody else changed it at the same time"),
    "body_too_large": (413, "The body is too large"),
    "unsupported_media_type": (415, "Only plain JSON is read here"),
    "range_not_satisfiable": (416, "The file ends before that"),
    "invalid": (422, "The request says something that cannot be"),
    "unknown_workflow": (422, "The workflow to run does not exist"),
    "invalid_workflow": (422, "The workflow cannot work"),
    "too_deep": (422, "The JSON is nested too deeply"),
    "too_many_keys": (422, "The JSON has too many keys"),
    "idempotency_conflict": (422, "This Idempotency-Key was used for another request"),
    "head_too_large": (431, "The head of the request is too large"),
    "internal": (500, "Something broke in the server"),
    "history_broken": (500, "What is stored is not what was written"),
    "read_model_behind": (503, "The read model has not caught up"),
    "read_model_unavailable": (503, "The read model does not answer"),
    "files_unavailable": (503, "The store of files does not answer"),
    "dispatcher_unavailable": (503, "The dispatcher does not answer"),
    "journal_unavailable": (503, "The journal does not answer"),
    "outcome_unknown": (503, "It may have happened or not"),
    "not_ready": (503, "The server is not ready"),
}


class FieldError(TypedDict, total=False):
    """One thing that is wrong: `pointer` is a JSON Pointer into the body, `node` names a graph's node."""

    pointer: str
    node: str
    message: str


class Problem(Exception):
    """An answer that is not the one hoped for. Raise it anywhere below a route."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(detail or KINDS[code][1])
        self.code, self.detail, self.errors, self.headers = code, detail, errors, headers
        self.status, self.title = KINDS[code]

    def as_dict(self) -> dict[str, object]:
        body: dict[str, object] = {
            "type": f"urn:daybook:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
        }
        if self.detail:
            body["detail"] = self.detail
        if self.errors:
            body["errors"] = list(self.errors)
        return body

    def body(self) -> bytes:
        return orjson.dumps(self.as_dict())


def retry_after(code: str, detail: str, seconds: int = 1) -> Problem:
    """A problem that goes away by itself; the client is told when to come again."""
    return Problem(code, detail, headers=[("Retry-After", str(seconds))])


def of_decoding(error: Exception) -> Problem:
    """What a body that msgspec refused did wrong: 422 with a pointer when it is JSON of the wrong shape,
    else 400.
    """
    if isinstance(error, msgspec.ValidationError):
        message, pointer = _split_path(str(error))
        return Problem("invalid", message, errors=[{"pointer": pointer, "message": message}])
    return Problem("malformed_json", str(error))


_PATH = re.compile(r" - at `(?:key in )?\$([^`]*)`\Z")
_STEP = re.compile(r"\.([^.\[]+)|\[([^\]]*)\]")


def _split_path(text: str) -> tuple[str, str]:
    """msgspec's "Expected … - at `$.a[3]`" as the message and the JSON Pointer "/a/3"."""
    found = _PATH.search(text)
    if found is None:
        return text, ""
    steps = (name or index for name, index in _STEP.findall(found[1]))
    return text[: found.start()], "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in steps)
