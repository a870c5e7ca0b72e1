"""JSON schemas that strangers wrote, compiled once and bounded: nothing of theirs is fetched or runs long."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import jsonschema_rs
import orjson

MAX_BYTES: Final = 64 * 1024
MAX_DEPTH: Final = 32
MOST_COMPILED: Final = 1_000
LONGEST_MESSAGE: Final = 500
_PATTERNS: Final = jsonschema_rs.RegexOptions(size_limit=1_000_000)
"""The engine whose time grows with the text only; it knows no look-around and no back-references."""


class UnusableSchema(ValueError):
    """Not a schema, too large, too deep, or not complete in itself. The message says which."""


class Schema:
    """A schema that values can be held against."""

    __slots__ = ("_validator",)

    def __init__(self, text: bytes) -> None:
        """Compile a schema from its JSON. Raises UnusableSchema."""
        try:
            self._validator = jsonschema_rs.validator_for(
                orjson.loads(text), pattern_options=_PATTERNS, offline=True
            )
        except (jsonschema_rs.ValidationError, ValueError) as error:
            raise UnusableSchema(str(error)[:LONGEST_MESSAGE]) from error

    def problem(self, value: Any) -> str | None:
        """What is wrong with `value`, in words; None when nothing is."""
        try:
            first = next(iter(self._validator.iter_errors(value)), None)
        except ValueError as error:  # nested deeper than can be looked at
            return str(error)
        if first is None:
            return None
        where = "/".join(str(part) for part in first.instance_path)
        return (f"{where}: {first.message}" if where else str(first.message))[:LONGEST_MESSAGE]


def schema_of(document: Mapping[str, Any]) -> Schema:
    """The compiled schema; equal documents are compiled once. Raises UnusableSchema."""
    if _is_deeper(document, MAX_DEPTH):
        raise UnusableSchema(f"it is nested deeper than {MAX_DEPTH}")
    text = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    if len(text) > MAX_BYTES:
        raise UnusableSchema(f"it is larger than {MAX_BYTES} bytes")
    return _compiled(text)


@lru_cache(maxsize=MOST_COMPILED)
def _compiled(text: bytes) -> Schema:
    return Schema(text)


def _is_deeper(document: object, depth: int) -> bool:
    level: list[object] = [document]
    for _ in range(depth):
        inner: list[object] = []
        for value in level:
            if isinstance(value, Mapping):
                inner += value.values()
            elif isinstance(value, list):
                inner += value
        if not inner:
            return False
        level = inner
    return any(isinstance(value, Mapping | list) for value in level)
