"""A state of a blueprint, the functions that decide in it, and how they get there."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from daybook.blueprint.condition_texts import condition_of
from daybook.blueprint.conditions import Condition
from daybook.blueprint.context import JobContext

Handler = Callable[..., Any]
Outcome = Literal["succeeded", "failed"]
F = TypeVar("F", bound=Handler)


@dataclass(slots=True)
class State:
    """One state. `outcome` is set for an end state: what the job comes to when it ends here.

    `conditional` handlers are asked in their order, the first whose condition holds is run; `function` is
    for all other jobs, `aggregator` for one that comes from parallel tasks.
    """

    name: str
    function: Handler | None = None
    conditional: list[tuple[Condition, Handler]] = field(default_factory=list)
    aggregator: Handler | None = None
    start: bool = False
    outcome: Outcome | None = None
    retry: Mapping[str, Any] | None = None
    on_error: str | None = None

    def handlers(self) -> Iterator[Handler]:
        """All of them."""
        if self.function is not None:
            yield self.function
        if self.aggregator is not None:
            yield self.aggregator
        yield from (handler for _, handler in self.conditional)

    def handler_for(self, job: JobContext, aggregated: bool) -> Handler | None:
        """The one to run for `job`."""
        if aggregated and self.aggregator is not None:
            return self.aggregator
        for condition, handler in self.conditional:
            if condition.holds(job):
                return handler
        return self.function or self.aggregator


class Registration:
    """`@bp.handler(…)` before it has its function, which it makes a handler of the state."""

    def __init__(
        self, register: Callable[[Handler, Condition | None], None], condition: Condition | None
    ) -> None:
        self._register, self._condition = register, condition

    def __call__(self, function: F) -> F:
        self._register(function, self._condition)
        return function

    def when(self, condition: Condition | str) -> "Registration":
        """The handler is for jobs of which `condition` is true, a text such as
        `context.initial_data.kind == 'urgent'` too. Raises ValueError for a text that says no condition.
        """
        given = condition_of(condition) if isinstance(condition, str) else condition
        return Registration(self._register, given if self._condition is None else self._condition & given)
