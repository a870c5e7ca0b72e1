"""A state of a blueprint, and the functions that decide in it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from daybook.blueprint.conditions import Condition
from daybook.blueprint.context import JobContext

Handler = Callable[..., Any]
Outcome = Literal["succeeded", "failed"]


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
