"""Blueprints in the words of their first releases: `handler_for`, `aggregator_for`, `.when("…")`."""

from collections.abc import Callable

from daybook.blueprint.blueprint import Blueprint
from daybook.blueprint.states import F, Registration


class StateMachineBlueprint(Blueprint):
    """A Blueprint whose states are always named."""

    def handler_for(self, state: str, is_start: bool = False, is_end: bool = False) -> Registration:
        """`handler(state, …)`."""
        return self.handler(state, is_start=is_start, is_end=is_end)

    def aggregator_for(self, state: str) -> Callable[[F], F]:
        """`aggregator(state)`."""
        return self.aggregator(state)
