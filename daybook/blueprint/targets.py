"""Where a handler may lead, read from its source without running it.

Only literals can be seen: `actions.go_to("done")`, `transitions={"ok": "done"}`, `aggregate_into="merge"`.
They draw the graph and let a misspelt state be found before a job meets it.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_GO_TO = ("go_to", "transition_to")
_WITH_TRANSITIONS = {"dispatch_task": (2,), "await_human_approval": (2, 0), "run_blueprint": (2,)}
_WITH_EVENT_TRANSITIONS = {"dispatch_task": 4}
_AGGREGATING = {"dispatch_parallel": 1}


@dataclass(slots=True)
class Targets:
    """States that are named literally; `open` when there may be others, or the source cannot be read.

    `is_empty`: the handler does nothing at all.
    """

    states: list[str] = field(default_factory=list)
    open: bool = False
    is_empty: bool = False


def targets_of(function: Callable[..., Any]) -> Targets:
    """What can be seen in the source of a handler."""
    found = Targets()
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        found.open = True
        return found
    found.is_empty = _is_empty(tree)
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        if isinstance(call.func, ast.Attribute):
            _read(call, call.func.attr, found)
    found.states = list(dict.fromkeys(found.states))
    return found


def _is_empty(tree: ast.Module) -> bool:
    """Whether the function of the source has a body of docstrings, `pass`, `...` and bare returns only."""
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return len(functions) == 1 and all(
        isinstance(line, ast.Pass)
        or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
        or (isinstance(line, ast.Return) and (line.value is None or isinstance(line.value, ast.Constant)))
        for line in functions[0].body
    )


def _read(call: ast.Call, name: str, found: Targets) -> None:
    if name in _GO_TO:
        _one(_argument(call, 0, "state"), found)
    elif name in _AGGREGATING:
        _one(_argument(call, _AGGREGATING[name], "aggregate_into"), found)
    elif name in _WITH_TRANSITIONS:
        for position in _WITH_TRANSITIONS[name]:
            value = _argument(call, position, "transitions")
            if value is not None and not (position == 0 and _is_text(value)):
                _mapping(value, found)
                break
        if name in _WITH_EVENT_TRANSITIONS:
            value = _argument(call, _WITH_EVENT_TRANSITIONS[name], "event_transitions")
            if value is not None and not (isinstance(value, ast.Constant) and value.value is None):
                _mapping(value, found)


def _mapping(value: ast.expr, found: Targets) -> None:
    if isinstance(value, ast.Dict):
        for state in value.values:
            _one(state, found)
    else:
        _one(value, found)


def _is_text(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _one(value: ast.expr | None, found: Targets) -> None:
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        found.states.append(value.value)
    elif isinstance(value, ast.IfExp):
        _one(value.body, found)
        _one(value.orelse, found)
    else:
        found.open = True


def _argument(call: ast.Call, position: int, keyword: str) -> ast.expr | None:
    for named in call.keywords:
        if named.arg == keyword:
            return named.value
    return call.args[position] if len(call.args) > position else None
