"""Expressions in workflows: the Common Expression Language, bounded before it runs. Never Python's `eval`."""

import importlib.util
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.machinery import PathFinder
from types import ModuleType
from typing import TYPE_CHECKING

from shared.domain.errors import ExpressionError
from shared.domain.values import Json

if TYPE_CHECKING:
    import cel

MAX_LENGTH = 2_000
MAX_COMPREHENSIONS = 2
"""Comprehensions multiply: two over lists of a 1 MiB input are the most a decision may cost."""

_COMPREHENSION = re.compile(r"\.\s*(?:map|filter|all|exists|exists_one)\s*\(")


@lru_cache(maxsize=1)
def _cel() -> ModuleType:
    """The compiled module of the package `cel`, alone.

    The package imports its command line too (typer, rich, prompt_toolkit): 17 MB in each process.
    """
    package = importlib.util.find_spec("cel")
    assert package is not None
    spec = PathFinder.find_spec("cel", package.submodule_search_locations)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@lru_cache(maxsize=4096)
def _program(expression: str) -> "cel.Program":
    if len(expression) > MAX_LENGTH:
        raise ExpressionError(expression[:80] + "…", f"longer than {MAX_LENGTH} characters")
    if len(_COMPREHENSION.findall(expression)) > MAX_COMPREHENSIONS:
        raise ExpressionError(expression, f"more than {MAX_COMPREHENSIONS} comprehensions")
    try:
        program: cel.Program = _cel().compile(expression)
    except ValueError as problem:
        raise ExpressionError(expression, str(problem).splitlines()[0]) from problem
    return program


def evaluate(expression: str, variables: Mapping[str, Json]) -> Json:
    """The value of a CEL `expression` over `variables`.

    Raises ExpressionError when it does not parse, names something that is not there, mixes types, or
    gives a value that JSON has no form for.
    """
    program = _program(expression)
    try:
        value = program.execute(dict(variables))
    except (ValueError, KeyError, TypeError, ArithmeticError, RuntimeError, IndexError) as problem:
        raise ExpressionError(expression, f"{type(problem).__name__}: {problem}") from problem
    return _as_json(expression, value)


def check(expression: str) -> None:
    """Raise ExpressionError when `expression` can never run: its workflow is refused then."""
    _program(expression)


def _as_json(expression: str, value: object) -> Json:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_as_json(expression, item) for item in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ExpressionError(expression, "gives a map whose keys are not strings")
        return {key: _as_json(expression, item) for key, item in value.items()}
    raise ExpressionError(expression, f"gives a {type(value).__name__}, which JSON has no form for")
