"""Conditions as texts, `context.initial_data.kind == 'urgent'`: data that is read, never code that is run."""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from daybook.blueprint.conditions import Condition, F

_SAID: Final = re.compile(r"\s*context((?:\.\w+)+)\s*(>=|<=|==|!=|>|<)\s*(.*?)\s*", re.DOTALL)
_COMPARE: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


def condition_of(text: str) -> Condition:
    """What `text` says: a path below `context`, a comparison, a value. A value that is no Python literal is a
    text without quotes. Raises ValueError.
    """
    said = _SAID.fullmatch(text)
    if said is None or not said[3]:
        raise ValueError(f"{text!r} is no condition: it must be like context.initial_data.kind == 'urgent'")
    found = F
    for name in said[1][1:].split("."):
        found = found.attr_(name)
    compared: Condition = _COMPARE[said[2]](found, _value(said[3]))
    return compared


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
