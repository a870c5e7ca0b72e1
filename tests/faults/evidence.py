"""What a run leaves behind, for the rules to look at, and its numbers."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.faults.executions import Execution, by_attempt
from tests.faults.history import TERMINAL, History
from tests.faults.ledger import Ledger

REDELIVERING = frozenset({"worker", "dispatcher", "nats", "supervisor", "power"})
"""A strike at one of these can lose an acknowledgement or a running task, and so bring a task again."""
OVER_HTTP = frozenset({"api"})
"""And at these, when workers speak HTTP."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that does not hold: which, of what, and how."""

    rule: str
    about: str
    detail: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.about}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Kill:
    """A kill -9, or a stall, that hit a living process; microseconds since the epoch.

    The role of a stall is "stalled <role>", and it lasted `stalled_us`.
    """

    role: str
    pid: int
    at_us: int
    stalled_us: int = 0

    def could_bring_back(self, first_us: int, second_us: int) -> bool:
        """Whether a task that started at `first_us` may have started again at `second_us` because of it.

        That supposes a role that brings tasks again. A strike a little before the first start counts too:
        the report may have gone to a dead dispatcher.
        """
        return first_us - 1_000_000 <= self.at_us + self.stalled_us and self.at_us <= second_us


@dataclass
class Evidence:
    """All that a run left behind, for the rules to look at.

    `rebuilt` and `served` are the digests of the read model, from scratch and as it was served, or None if
    the run had none; `poisoned` counts the commits that no row could be made of; `waiting` counts what
    each queue still holds after the quiet period; `orphans` are the processes that were left when the
    system had stopped; `expected_roles` must all have been killed; a strike at one of `redelivering` can
    bring a task again.
    """

    history: History
    ledger: Ledger = field(default_factory=Ledger)
    executions: list[Execution] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    expected_roles: Sequence[str] = ()
    served: str | None = None
    rebuilt: str | None = None
    poisoned: int = 0
    waiting: dict[str, int] = field(default_factory=dict)
    orphans: list[str] = field(default_factory=list)
    redelivering: frozenset[str] = REDELIVERING


def repeated_runs(executions: list[Execution]) -> int:
    """How many runs were not the first of their attempt."""
    return sum(len(runs) - 1 for runs in by_attempt(executions).values())


def summary(evidence: Evidence) -> dict[str, int]:
    """The numbers of a run, for its report."""
    topics = Counter(event.topic for events in evidence.history.jobs.values() for event in events)
    kills = Counter(kill.role for kill in evidence.kills)
    numbers: dict[str, int] = defaultdict(int)
    numbers["jobs acknowledged"] = len(evidence.ledger.acknowledged_jobs)
    numbers["requests sent"] = sum(entry.tries for entry in evidence.ledger)
    numbers["commits"] = len(evidence.history.commits)
    numbers["jobs ended"] = sum(topics[topic] for topic in TERMINAL)
    numbers["attempts released"] = topics["TaskReleased"]
    numbers["tasks timed out"] = topics["TaskTimedOut"]
    numbers["reports ignored"] = topics["ReportIgnored"]
    numbers["runs by workers"] = len(evidence.executions)
    numbers["runs repeated after a kill"] = repeated_runs(evidence.executions)
    for role, count in sorted(kills.items()):
        numbers[f"times {role}" if role.startswith("stalled ") else f"kills of {role}"] = count
    return dict(numbers)
