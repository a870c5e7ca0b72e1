"""The workers behind the gateway."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.api.gateway.contracts import NO_CONTRACT, Contract
from services.api.gateway.polls import Preference
from services.api.gateway.tasks import Key, Task
from shared.domain.placement import Candidate

DEFAULT_CONCURRENCY = 10
MOST_CONCURRENCY = 10_000

Stop = Callable[[Key], None]
"""Tells a connected worker at once to stop a task."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a worker says of itself: `candidate` for placement, `words` as its dialect shows it."""

    name: str
    skills: tuple[str, ...]
    candidate: Candidate
    concurrency: int = DEFAULT_CONCURRENCY
    labels: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, Any] = field(default_factory=dict)
    contracts: Mapping[str, Contract] = field(default_factory=dict)
    """By skill."""


@dataclass(slots=True)
class Member:
    """A worker that is here. `heard` and `known_since` are monotonic seconds.

    `is_guessed`: it was never registered here, its poll told its skills. `lists_tasks`: it said what it
    works on. `beats`: it shows now and then that it lives. `said_hot` is what its last beat that told says it
    has loaded, `said` what else its beats said of it. `is_trusted`: its reputation lets it have tasks.
    """

    profile: Profile
    instance: str
    known_since: float
    heard: float
    concurrency: int
    runs: dict[Key, None] = field(default_factory=dict)
    status: str = "idle"
    usage: Mapping[str, Any] = field(default_factory=dict)
    listed: Sequence[str] = ()
    said_hot: frozenset[str] | None = None
    said: Mapping[str, Any] = field(default_factory=dict)
    is_guessed: bool = False
    has_left: bool = False
    lists_tasks: bool = False
    beats: bool = False
    greeted: bool = False
    reputation: float = 1.0
    is_trusted: bool = True

    @property
    def name(self) -> str:
        return self.profile.name

    @property
    def hot(self) -> frozenset[str]:
        """The skills that it has loaded: as its last beat said, else as it registered."""
        return self.profile.candidate.hot if self.said_hot is None else self.said_hot

    def preferences(self) -> dict[str, Preference]:
        """How it ranks for each of its skills: see `Preference`."""
        hot, candidate = self.hot, self.profile.candidate
        return {
            skill: (skill not in hot, candidate.cost(skill), -self.reputation)
            for skill in self.profile.skills
        }

    def hello(self) -> dict[str, Any]:
        """It as the dispatcher knows it, in its hellos and in its beats."""
        return {
            "name": self.name,
            "skills": sorted(self.profile.skills),
            "concurrency": self.concurrency,
            "instance": self.instance,
            "labels": dict(self.profile.labels),
            "takes": True,
        }

    def contract(self, skill: str) -> Contract:
        """What it promised of a skill."""
        return self.profile.contracts.get(skill, NO_CONTRACT)

    def suits(self, task: Task) -> bool:
        """Whether its promises cover a placed task."""
        contract = self.contract(task.skill)
        return contract.refuses(task.params) is None and not contract.lacks(task.ports or ())

    def candidate(self) -> Candidate:
        """It as placement sees it now."""
        known = self.profile.candidate
        return Candidate(
            name=known.name,
            skills=known.skills,
            properties=known.properties,
            devices=known.devices,
            software=known.software,
            artifacts=known.artifacts,
            extra=known.extra,
            costs=known.costs,
            hot=self.hot,
            running=len(self.runs),
            reputation=self.reputation,
        )


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker as it is shown: its own words, newer ones instead of older ones, and what it said last."""

    name: str
    words: Mapping[str, Any]
    status: str
    usage: Mapping[str, Any]
    listed: Sequence[str]
    running: int
    polls: int
    reputation: float
