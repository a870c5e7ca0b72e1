"""The journal as it stands on the broker, read and parsed without any of the product's code.

The format is the one that docs/wire.md describes; subjects are `journal.<kind>.<id>.<n>.note` and
`journal.job.<id>.<n>.run.<skill>`, `<n>` being the version of the commit's first event.
"""

import base64
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

TERMINAL = frozenset({"JobSucceeded", "JobFailed", "JobTimedOut", "JobCancelled", "JobQuarantined"})


class Event(NamedTuple):
    """One event: its version in the aggregate, from 1, and its time in microseconds since the epoch."""

    version: int
    topic: str
    fields: Mapping[str, Any]
    at: int
    sequence: int

    @property
    def task(self) -> int | None:
        """The task that it is about, None if it is about none."""
        return self.fields.get("task")

    @property
    def attempt(self) -> int:
        """The attempt of the task; a field that has its default value, here 1, may be left out."""
        return int(self.fields.get("attempt", 1))


@dataclass(frozen=True, slots=True)
class Commit:
    """One stored message: where it lies, what its subject says of it, and what its body says."""

    sequence: int
    subject: str
    raw: bytes = field(repr=False)
    kind: str
    id: UUID
    n: int
    skill: str | None
    body: Mapping[str, Any] = field(repr=False)

    @property
    def events(self) -> list[Event]:
        at = int(self.body["at"])
        return [
            Event(self.n + i, topic, fields if isinstance(fields, dict) else {}, at, self.sequence)
            for i, (topic, fields, *_) in enumerate(self.body["events"])
        ]

    @property
    def digest(self) -> str:
        """The SHA-256 of the stored bytes, in hexadecimal, as the next commit's `prev` must give it."""
        return hashlib.sha256(self.raw).hexdigest()


class MalformedCommitError(ValueError):
    """A stored message is not a commit. It says which, and why."""


def commit_of(sequence: int, subject: str, raw: bytes) -> Commit:
    """The commit that a stored message is. Raises MalformedCommitError."""
    try:
        match subject.split("."):
            case ["journal", kind, token, n, "note"]:
                skill = None
            case ["journal", "job" as kind, token, n, "run", skill]:
                pass
            case _:
                raise ValueError("this is no subject of the journal")
        body = json.loads(raw)
        id_ = UUID(bytes=base64.b32hexdecode(token.upper() + "======"))
        commit = Commit(sequence, subject, raw, kind, id_, int(n), skill, body)
        if not commit.events:
            raise ValueError("it has no events")
        _ = body["prev"], body["by"], UUID(body["id"]), int(body["n"]), str(body["kind"])
    except (ValueError, KeyError, TypeError) as error:
        raise MalformedCommitError(f"message {sequence} on {subject}: {error!r}") from error
    return commit


@dataclass(frozen=True)
class History:
    """All commits in the order of the stream; `malformed` tells of the messages that are none."""

    commits: list[Commit]
    malformed: list[str] = field(default_factory=list)

    @cached_property
    def aggregates(self) -> dict[tuple[str, UUID], list[Commit]]:
        grouped: dict[tuple[str, UUID], list[Commit]] = defaultdict(list)
        for commit in self.commits:
            grouped[commit.kind, commit.id].append(commit)
        return dict(grouped)

    @cached_property
    def jobs(self) -> dict[UUID, list[Event]]:
        """The events of each job, in the order in which they were stored."""
        return {
            id_: [event for commit in commits for event in commit.events]
            for (kind, id_), commits in self.aggregates.items()
            if kind == "job"
        }

    @cached_property
    def ends(self) -> dict[UUID, list[Event]]:
        """The terminal events of each job: one, if all is well; none, if it has not ended."""
        return {
            id_: [event for event in events if event.topic in TERMINAL] for id_, events in self.jobs.items()
        }

    @property
    def unfinished(self) -> list[UUID]:
        return [id_ for id_, ends in self.ends.items() if not ends]

    def each(self, *topics: str) -> Iterator[tuple[UUID, Event]]:
        """Every event of jobs that has one of the topics."""
        for id_, events in self.jobs.items():
            for event in events:
                if event.topic in topics:
                    yield id_, event


def history_of(messages: Iterable[tuple[int, str, bytes]]) -> History:
    """The history of (sequence, subject, stored bytes) triples; what cannot be read is told, not dropped."""
    commits: list[Commit] = []
    malformed: list[str] = []
    for sequence, subject, raw in messages:
        try:
            commits.append(commit_of(sequence, subject, raw))
        except MalformedCommitError as error:
            malformed.append(str(error))
    return History(commits, malformed)
