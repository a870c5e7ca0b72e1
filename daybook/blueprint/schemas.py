"""JSON schemas of what goes into a blueprint, comes out of it, and is told on the way."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from shared.application import schemas


def schema_of(given: Any) -> dict[str, Any]:
    """The JSON schema that is given: as a dictionary, or as a type (a model, a dataclass, a TypedDict, …).

    None is the schema that allows everything.
    """
    if given is None:
        return {}
    if isinstance(given, dict):
        return dict(given)
    return TypeAdapter(given).json_schema()


def schemas_problem(takes: dict[str, Any], gives: dict[str, Any], tells: Mapping[str, Any]) -> str | None:
    """Why a blueprint's schemas cannot be used, in words; None when they can. Nothing is fetched for them."""
    named = {"input_schema": takes, "output_schema": gives}
    for which, schema in {
        **named,
        **{f"schema of the event {name!r}": tells[name] for name in tells},
    }.items():
        try:
            schemas.schema_of(schema)
        except (schemas.UnusableSchema, TypeError) as problem:
            return f"its {which} cannot be used: {problem}"
    return None


def problem_of(schema: dict[str, Any] | None, value: Any) -> str | None:
    """What is wrong with `value`, in words; None when nothing is, or nothing is asked."""
    return schemas.schema_of(schema).problem(value) if schema else None
