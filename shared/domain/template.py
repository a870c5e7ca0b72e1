"""Values of a graph in which `{"cel": "expression"}` stands for what the expression gives."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from shared.domain.values import Json

Evaluate: TypeAlias = Callable[[str, Mapping[str, Json]], Json]
"""Evaluates an expression with variables; raises ExpressionError."""


@dataclass(frozen=True, slots=True)
class Template:
    """A JSON value, with expressions anywhere in it. `dynamic` tells whether there are any."""

    value: Json
    dynamic: bool

    @staticmethod
    def of(value: Json) -> "Template":
        return Template(value, next(expressions(value), None) is not None)

    def render(self, evaluate: Evaluate, variables: Mapping[str, Json]) -> Json:
        """The value with every expression replaced by what it gives. Raises ExpressionError."""
        return _render(self.value, evaluate, variables) if self.dynamic else self.value


def expression_of(value: Json) -> str | None:
    """The expression that `value` is, if it is one."""
    if isinstance(value, dict) and len(value) == 1:
        expression = value.get("cel")
        if isinstance(expression, str):
            return expression
    return None


def expressions(value: Json) -> Iterator[str]:
    """All expressions in `value`, in its order."""
    expression = expression_of(value)
    if expression is not None:
        yield expression
    elif isinstance(value, dict):
        for part in value.values():
            yield from expressions(part)
    elif isinstance(value, list):
        for part in value:
            yield from expressions(part)


def _render(value: Json, evaluate: Evaluate, variables: Mapping[str, Json]) -> Json:
    expression = expression_of(value)
    if expression is not None:
        return evaluate(expression, variables)
    if isinstance(value, dict):
        return {key: _render(part, evaluate, variables) for key, part in value.items()}
    if isinstance(value, list):
        return [_render(part, evaluate, variables) for part in value]
    return value
