"""JSON schemas of what goes into a blueprint, comes out of it, and is told on the way."""

from typing import Any

import jsonschema_rs
from pydantic import TypeAdapter


def schema_of(given: Any) -> dict[str, Any]:
    """The JSON schema that is given: as a dictionary, or as a type (a model, a dataclass, a TypedDict, …).

    None is the schema that allows everything.
    """
    if given is None:
        return {}
    if isinstance(given, dict):
        return dict(given)
    return TypeAdapter(given).json_schema()


def problem_of(schema: dict[str, Any] | None, value: Any) -> str | None:
    """What is wrong with `value`, in words; None when nothing is, or nothing is asked."""
    if not schema:
        return None
    first = next(iter(jsonschema_rs.validator_for(schema).iter_errors(value)), None)
    if first is None:
        return None
    where = "/".join(str(part) for part in first.instance_path)
    return f"{where}: {first.message}" if where else first.message
