"""The two forms of every answer."""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from starlette.responses import Response

JSON: Final = "application/json; charset=utf-8"


class Refused(Exception):
    """The request is not granted; `text` and `status` say it in the dialect's words."""

    def __init__(self, text: str, status: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.text, self.status, self.headers = text, status, dict(headers or {})


def refused(text: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """An answer that says no, in the dialect's form."""
    return Response(orjson.dumps({"error": text}), status, headers, media_type=JSON)


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`content` as JSON with sorted keys; None members of an object are left out."""
    return Response(
        orjson.dumps(shown(content), option=orjson.OPT_SORT_KEYS), status, headers, media_type=JSON
    )


def shown(content: Any) -> Any:
    """An object without its None members."""
    if isinstance(content, dict):
        return {name: value for name, value in content.items() if value is not None}
    return content
