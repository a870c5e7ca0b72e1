"""Submitting a job: the domain decides what begins at once, one append stores it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, Protocol
from uuid import UUID

from shared.application.collecting import collected
from shared.application.ids import derived_id
from shared.application.ports import Decision, Journal, StoredCommit, UnknownOutcome, VersionConflict
from shared.application.summary import JobSummary
from shared.domain.graph import Graph
from shared.domain.job.job import Job
from shared.domain.job.spec import Facts, JobSpec
from shared.domain.template import Evaluate

REQUEST_DIGEST: Final = "daybook.request"
"""The metadata key under which a job keeps the SHA-256 of the request that made it, when a key made it
unique.
"""

_KEYED: Final = UUID("6f0a7f1e-6a0b-5d5c-9d0c-3f1a4a1d7b55")


class LaneUse(Protocol):
    """What one decision may release at once, and the duty to tell how it went."""

    def has_room(self, skill: str) -> bool: ...
    def stored(self, sequence: int) -> None: ...
    def dropped(self) -> None: ...


class FastLanes(Protocol):
    """Which tasks may be released here, without asking the dispatcher."""

    def reserve(self) -> LaneUse: ...


class ClosedLanes:
    """No room for anything: the job is accepted, and the dispatcher releases its first task."""

    def reserve(self) -> "ClosedLanes":
        return self

    def has_room(self, skill: str) -> bool:
        return False

    def stored(self, sequence: int) -> None:
        """Nothing was taken."""

    def dropped(self) -> None:
        """Nothing was taken."""


class Submitted(NamedTuple):
    """A job that stands in the journal. `created` is False when the same request had made it before."""

    id: UUID
    sequence: int
    status: str
    created: bool


class KeyReused(Exception):
    """The idempotency key made another job from another request. Use a new key."""

    def __init__(self, job: UUID) -> None:
        super().__init__(f"the key made job {job} from another request")
        self.job = job


def job_id_of(tenant: str, key: str) -> UUID:
    """The id of the one job that `key` makes for `tenant`."""
    return derived_id(derived_id(_KEYED, tenant), key)


class Submit:
    """The use case. One instance serves all requests of a process."""

    def __init__(
        self,
        journal: Journal,
        lanes: FastLanes,
        evaluate: Evaluate,
        now: Callable[[], datetime],
    ) -> None:
        self._journal, self._lanes, self._evaluate, self._now = journal, lanes, evaluate, now

    async def __call__(
        self, job_id: UUID, spec: JobSpec, graph: Graph, by: str, digest: str | None = None
    ) -> Submitted:
        """Accept the job and store it: `begin`, and then the `outcome`."""
        return await self.begin(job_id, spec, graph, by, digest).outcome()

    def begin(
        self, job_id: UUID, spec: JobSpec, graph: Graph, by: str, digest: str | None = None
    ) -> "Submission":
        """Decide, and give the decision to the journal. Raises DomainError.

        With a `digest` the id was derived from a key: when the id is taken, the request that took it must
        have had the same digest.
        """
        lane = self._lanes.reserve()
        try:
            job = Job.accept(job_id, spec, Facts(self._now(), graph, self._evaluate, has_room=lane.has_room))
            decision = Decision("job", job_id, collected(job), by)
            stored, _ = self._journal.submit(decision)
        except BaseException:
            lane.dropped()
            raise
        return Submission(self._journal, lane, decision, job.status, digest, stored)


@dataclass(slots=True, eq=False)
class Submission:
    """A job on its way to the journal. Somebody must wait for its `outcome`, or `leave` it."""

    _journal: Journal
    _lane: LaneUse
    _decision: Decision
    _status: str
    _digest: str | None
    _stored: "asyncio.Future[int]"

    async def outcome(self) -> Submitted:
        """The stored job. Raises KeyReused, JournalUnavailable, and UnknownOutcome when even a second try got
        no answer.
        """
        try:
            sequence = await self._sequence()
        except BaseException:
            self._lane.dropped()
            raise
        if sequence is None:
            self._lane.dropped()
            return await self._existing()
        self._lane.stored(sequence)
        return Submitted(self._decision.id, sequence, self._status, created=True)

    def leave(self) -> None:
        """Nobody waits for the outcome any more."""
        self._stored.cancel()
        self._lane.dropped()

    async def _sequence(self) -> int | None:
        """Where the decision stands, or None when the id is taken (perhaps by this very decision)."""
        try:
            return await self._stored
        except VersionConflict:
            return None
        except UnknownOutcome:
            # The same append again is safe: the journal keeps one first commit for an id.
            try:
                return await self._journal.submit(self._decision)[0]
            except VersionConflict:
                return None

    async def _existing(self) -> Submitted:
        job_id = self._decision.id
        summary = summary_of(job_id, await self._journal.history("job", job_id))
        if summary is None:
            raise UnknownOutcome("job", job_id, 1)
        if self._digest is not None and summary.metadata.get(REQUEST_DIGEST) != self._digest:
            raise KeyReused(job_id)
        # Without a key nobody else can have this id: it was the first try that had no answer.
        return Submitted(job_id, summary.sequence, summary.status, created=self._digest is None)


def summary_of(job_id: UUID, commits: list[StoredCommit]) -> JobSummary | None:
    """The job as all its commits give it, None when there are none."""
    if not commits:
        return None
    summary = JobSummary(id=str(job_id), first_sequence=commits[0].sequence)
    for commit in commits:
        for topic, data in commit.events:
            summary.apply(topic, data, commit.at, commit.sequence)
    return summary
