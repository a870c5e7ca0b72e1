"""Signatures as the workers' protocol makes them."""

from collections.abc import Mapping
from hmac import digest
from typing import Any

import orjson


def signature(document: Mapping[str, Any], key: str, *unsigned: str) -> str:
    """The HMAC-SHA256 in hex of the message's JSON without `security` and the `unsigned` members: keys
    sorted, compact, null left out, whole numbers as integers. Raises ValueError for a number beyond JSON.
    """
    signed = {name: value for name, value in document.items() if name not in ("security", *unsigned)}
    try:
        message = orjson.dumps(_plain(signed), option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise ValueError(f"what cannot be written cannot be signed: {error}") from error
    return digest(key.encode(), message, "sha256").hex()


def _plain(value: Any) -> Any:
    """As messages are signed: without null, whole numbers as integers."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
