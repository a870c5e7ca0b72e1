"""What a run of a skill came to, in the words of the wire."""

import traceback
from typing import Any

import orjson

from daybook.errors import SkillError

MESSAGE_LIMIT = 8_000
TRACEBACK_LIMIT = 4_000


def error_of(error: BaseException) -> dict[str, Any]:
    """The failure to report for an exception of a skill: anything that is not a SkillError is transient."""
    if isinstance(error, SkillError):
        said: dict[str, Any] = {"kind": error.kind, "message": error.message[:MESSAGE_LIMIT]}
        if error.code is not None:
            said["code"] = str(error.code)
        if error.details is not None:
            said["details"] = _json_or_text(error.details)
        return said
    lines = "".join(traceback.format_exception(error))
    return {
        "kind": "transient",
        "code": type(error).__name__,
        "message": (str(error) or type(error).__name__)[:MESSAGE_LIMIT],
        "details": {"traceback": lines[-TRACEBACK_LIMIT:]},
    }


def failure(kind: str, code: str, message: str) -> dict[str, Any]:
    """A failure that the worker itself found."""
    return {"kind": kind, "code": code, "message": message[:MESSAGE_LIMIT]}


def _json_or_text(value: Any) -> Any:
    try:
        return orjson.loads(orjson.dumps(value))
    except TypeError:
        return repr(value)[:MESSAGE_LIMIT]
