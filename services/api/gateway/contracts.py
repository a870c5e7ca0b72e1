"""What workers promise of their skills: what they take, what they give, what they tell of."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from shared.application.schemas import Schema

ORDINARY: Final = frozenset({"success", "failure", "cancelled", "timeout", "default", "*"})
"""Ports that any worker may leave by; every other is a status of the skill's own."""


@dataclass(frozen=True, slots=True)
class Contract:
    """One skill of one worker. None of a schema, and no `statuses`, promise nothing."""

    takes: Schema | None = None
    gives: Schema | None = None
    tells: Mapping[str, Schema] = field(default_factory=dict)
    statuses: frozenset[str] = frozenset()

    def refuses(self, given: Any) -> str | None:
        """Why the skill cannot take this input; None when it can."""
        return None if self.takes is None else self.takes.problem(given)

    def lacks(self, ports: Iterable[str]) -> list[str]:
        """Statuses that the task's next steps count on and the skill never ends with."""
        return sorted(set(ports) - ORDINARY - self.statuses) if self.statuses else []


NO_CONTRACT: Final = Contract()
