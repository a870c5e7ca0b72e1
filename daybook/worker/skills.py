"""A skill: a function of the user's, and how it is run."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

Executor = Literal["async", "thread", "process"]


@dataclass(frozen=True, slots=True)
class Skill:
    """`function(input)` or `function(input, task)`; a run longer than `timeout` seconds fails.

    Executor `async` runs on the event loop: for coroutines, and for plain functions that never block.
    `thread` and `process` are for functions that do; only a process can be stopped by force.
    """

    name: str
    function: Callable[..., Any]
    executor: Executor
    timeout: float | None
    is_coroutine: bool
    wants_context: bool


def skill_of(
    name: str, function: Callable[..., Any], executor: Executor | None = None, timeout: float | None = None
) -> Skill:
    """Check a function and say how it runs. Raises ValueError or TypeError with the skill's name."""
    if not name:
        raise ValueError("a skill needs a name")
    if not callable(function):
        raise TypeError(f"skill {name!r}: {function!r} is not a function")
    is_coroutine = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 (an object whose call is a coroutine)
    )
    chosen: Executor = executor or ("async" if is_coroutine else "thread")
    if chosen not in get_args(Executor):
        raise ValueError(
            f"skill {name!r}: executor must be one of {', '.join(get_args(Executor))}, not {chosen!r}"
        )
    if is_coroutine and chosen == "thread":
        raise ValueError(f"skill {name!r} is a coroutine; run it with executor 'async' or 'process'")
    if timeout is not None and timeout <= 0:
        raise ValueError(f"skill {name!r}: timeout must be more than 0 seconds, not {timeout!r}")
    if chosen == "process" and "<" in getattr(function, "__qualname__", "<"):
        raise ValueError(f"skill {name!r} runs in a process: it must be a function at the top of a module")
    return Skill(name, function, chosen, timeout, is_coroutine, _wants_context(name, function))


def _wants_context(name: str, function: Callable[..., Any]) -> bool:
    parameters = inspect.signature(function).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in positional if p.default is p.empty]
    if any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters):
        raise TypeError(f"skill {name!r} must take (input) or (input, task), not keyword-only arguments")
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return len(positional) >= 2
    if not positional or len(required) > 2:
        raise TypeError(f"skill {name!r} must take (input) or (input, task)")
    return len(positional) >= 2
