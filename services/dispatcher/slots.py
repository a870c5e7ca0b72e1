"""One job on the desk, and what is asked of it: commands, and the outcomes that they hear."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from shared.domain.errors import DomainError
from shared.domain.graph import Graph
from shared.domain.job import Facts, Job


class Done(NamedTuple):
    """The command was decided and stored. `changed` is False when it had happened before."""

    answer: object
    job: Job
    sequence: int
    changed: bool


@dataclass(frozen=True, slots=True)
class Missing:
    """There is no such job."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The domain says no; nothing changed."""

    problem: DomainError


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The journal could not be reached; nothing is known to have changed. Ask again."""

    problem: Exception


@dataclass(frozen=True, slots=True)
class Broken(Unavailable):
    """Deciding or storing the command raised what nobody expects; nothing changed. Asking again is of little
    use: whoever does it for ever has the process do nothing else.
    """


Outcome = Done | Missing | Refused | Unavailable


@dataclass(slots=True, eq=False)
class Command:
    """What somebody wants of a job. `act` decides on the aggregate, `done` hears the outcome, once."""

    act: Callable[[Job, Facts], object]
    done: Callable[[Outcome], None]
    by: str = "system:dispatcher"
    tries: int = 0


def look(done: Callable[[Outcome], None] = lambda outcome: None) -> Command:
    """Decides nothing: the job comes to the desk, where what its state asks for is done."""
    return Command(lambda job, facts: None, done)


@dataclass(slots=True)
class Slot:
    """One job on the desk. `snapshot` is the version of its newest snapshot, 0 for none.

    `observed` is the version up to which the watchers of events have seen it, `told` the version up to which
    the journal has told of it; `begun` names what was begun for its state, so that it is begun once.
    """

    id: UUID
    job: Job | None = None
    graph: Graph | None = None
    tip: bytes | None = None
    sequence: int = 0
    observed: int = 0
    told: int = 0
    busy: bool = False
    waiting: deque[Command] = field(default_factory=deque)
    begun: set[str] = field(default_factory=set)
    snapshot: int = 0
