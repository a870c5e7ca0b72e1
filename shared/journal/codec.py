"""Commits as bytes: compact JSON, readable without any header.

    {"id": "<uuid>", "kind": "job", "n": 3, "at": 1763697600123456, "by": "worker:w1",
     "prev": "<64 hex: SHA-256 of the stored bytes of the commit before>" | null,
     "events": [["TaskSucceeded", {…}], ["JobSucceeded", {…}, 2]]}

`n` is the version of the first event, `at` microseconds since the epoch. An event is its topic, its own
fields (those that equal the class's default may be missing), and its class version when that is not 1.
A string in place of the fields is an opaque state in base64, written through the `eventsourcing` recorder.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import msgspec
import orjson
from eventsourcing.domain import Aggregate, AggregateCreated, AggregateEvent
from eventsourcing.utils import get_topic

from shared.application.clock import from_us, to_us
from shared.application.ports import Decision, JournalError, Recorded, StoredCommit
from shared.broker.subjects import PLACED, TAKEN, id_token, skill_token
from shared.journal.chain import tip_of, verify

A = TypeVar("A", bound=Aggregate)
Event = AggregateEvent

RELEASE = "TaskReleased"
"""The event that ends a commit and sends it to the queue of its `skill`, or of the placed tasks. One that is
taken is followed by its claim, and no queue gets it.
"""


class UnknownEvent(JournalError):
    """A stored event has a topic that this version of the program does not know. Upgrade."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"no event is called {topic!r}")
        self.topic = topic


class EncodedCommit(NamedTuple):
    """One commit, ready to be stored.

    `unique` is the filter under which nothing may be stored yet; `skill` is the token of the queue that
    the commit feeds; `tip` is the SHA-256 of `raw`.
    """

    subject: str
    unique: str
    raw: bytes
    tip: bytes
    n: int
    skill: str | None


class Codec:
    """Events to bytes and back. It knows the classes by their short topics, never by import paths."""

    def __init__(self, events: Mapping[str, type[Event]], kinds: Mapping[str, type[Aggregate]]) -> None:
        """`events` maps topic to event class, `kinds` the kind in a subject to the aggregate's class."""
        self._plans = {topic: _Plan(topic, cls) for topic, cls in events.items()}
        self._plan_of = {plan.cls: plan for plan in self._plans.values()}
        self._kinds = {cls: kind for kind, cls in kinds.items()}
        self._grown = frozenset(topic for topic, plan in self._plans.items() if plan.version != 1)

    def kind_of(self, cls: type[Aggregate]) -> str:
        """The kind under which commits of `cls` are stored; KeyError when it has none."""
        return self._kinds[cls]

    def encode(self, decision: Decision) -> list[EncodedCommit]:
        """The decision as commits: each release of a task to a queue ends one, the rest is the last."""
        commits: list[EncodedCommit] = []
        prev = decision.prev
        prefix = f"journal.{decision.kind}.{id_token(decision.id)}."
        at = to_us(decision.events[0].timestamp) if decision.events else 0
        for events, skill in self._split(decision.events):
            n = events[0].originator_version
            raw = orjson.dumps(
                {
                    "id": decision.id,
                    "kind": decision.kind,
                    "n": n,
                    "at": at,
                    "by": decision.by,
                    "prev": prev.hex() if prev is not None else None,
                    "events": [self._plan_of[type(event)].dump(event) for event in events],
                }
            )
            tail = "note" if skill is None else f"run.{skill}"
            prev = tip_of(raw)
            commits.append(EncodedCommit(f"{prefix}{n}.{tail}", f"{prefix}{n}.>", raw, prev, n, skill))
        return commits

    def decode(self, sequence: int, subject: str, raw: bytes) -> StoredCommit:
        """One stored commit, its events brought up to today's class versions.

        Events of unknown topics stay as they are: a reader may be older than a writer.
        """
        skill = subject.rpartition(".run.")[2] if ".run." in subject else None
        content = _content(raw)
        events = [
            event
            if len(event) == 2 and type(event[1]) is dict and event[0] not in self._grown
            else self._upcast(event)
            for event in content.events
        ]
        return StoredCommit(
            sequence, content.kind, content.id, content.n, content.at, content.by, events, raw, skill
        )

    def fold(self, cls: type[A], commits: Iterable[StoredCommit], aggregate: A | None = None) -> A | None:
        """The aggregate that the events of `commits` make, on top of `aggregate`. Raises UnknownEvent."""
        topic = get_topic(cls)
        plans = self._plans
        for commit in commits:
            at = from_us(commit.at)
            for version, (name, state) in enumerate(commit.events, commit.n):
                plan = plans.get(name)
                if plan is None:
                    raise UnknownEvent(name)
                event = plan.load(state, commit.id, version, at)
                if plan.creates:
                    event.__dict__["originator_topic"] = topic
                aggregate = event.mutate(aggregate)
        return aggregate

    def _split(self, events: Sequence[Event]) -> list[tuple[list[Event], str | None]]:
        parts: list[tuple[list[Event], str | None]] = []
        part: list[Event] = []
        rest: str | None = None
        for event in events:
            part.append(event)
            if self._plan_of[type(event)].releases:
                fields = event.__dict__
                if fields.get("taken"):
                    rest = TAKEN
                    continue
                parts.append((part, PLACED if fields.get("placement") else skill_token(fields["skill"])))
                part, rest = [], None
        if part:
            parts.append((part, rest))
        return parts

    def _upcast(self, event: tuple[Any, ...]) -> tuple[str, Mapping[str, Any]]:
        topic, state = event[0], event[1]
        if isinstance(state, str):
            return topic, {"raw": state}
        plan = self._plans.get(topic)
        if plan is not None:
            version = event[2] if len(event) > 2 else 1
            if version != plan.version:
                state = plan.upcast(state, version)
        return topic, state


def caught_up(codec: Codec, recorded: Recorded[A], commits: Sequence[StoredCommit]) -> Recorded[A]:
    """`recorded` with the commits that follow it applied, in place. Raises BrokenChain without a change."""
    aggregate = recorded.aggregate
    tip = verify(commits, aggregate.version, recorded.tip)
    if not commits or tip is None:
        return recorded
    folded = codec.fold(type(aggregate), commits, aggregate)
    assert folded is not None
    return Recorded(folded, commits[-1].sequence, tip, recorded.snapshot)


class _Content(msgspec.Struct, gc=False):
    """A stored commit but for `prev`, which the chain reads."""

    id: UUID
    kind: str
    n: int
    at: int
    by: str
    events: list[tuple[Any, ...]]


_content = msgspec.json.Decoder(_Content).decode


class _Plan:
    """What is known of an event class once and for all."""

    def __init__(self, topic: str, cls: type[Event]) -> None:
        self.topic, self.cls = topic, cls
        self.version: int = getattr(cls, "class_version", 1)
        self.releases = topic == RELEASE
        self.creates = issubclass(cls, AggregateCreated)
        own = [field for field in fields(cls) if field.name not in _NOT_STORED]
        self._defaults: dict[str, Any] = {
            field.name: field.default for field in own if field.default is not MISSING
        }
        self._factories = [(f.name, f.default_factory) for f in own if f.default_factory is not MISSING]

    def dump(self, event: Event) -> list[Any]:
        """[topic, fields] or [topic, fields, class version]. Fields that are the default are left out."""
        default = self._defaults.get
        state = {
            name: value
            for name, value in event.__dict__.items()
            # identity, because 0 == False and 1 == 1.0
            if name not in _NOT_STORED and value is not default(name, MISSING)
        }
        return [self.topic, state] if self.version == 1 else [self.topic, state, self.version]

    def load(self, state: Mapping[str, Any], id: UUID, version: int, at: Any) -> Event:  # noqa: A002
        """The event, without running its __init__ (as the library's own mapper does)."""
        event = object.__new__(self.cls)
        attributes = event.__dict__  # what is not there reads as the class's default
        for name, make in self._factories:
            attributes[name] = make()
        attributes.update(state)
        attributes["originator_id"] = id
        attributes["originator_version"] = version
        attributes["timestamp"] = at
        return event

    def upcast(self, state: dict[str, Any], version: int) -> dict[str, Any]:
        """`state` of an older class version, by the class's `upcast_v1_v2(state)`, …, in place."""
        while version < self.version:
            getattr(self.cls, f"upcast_v{version}_v{version + 1}")(state)
            version += 1
        return state


_NOT_STORED = frozenset({"originator_id", "originator_version", "originator_topic", "timestamp"})
