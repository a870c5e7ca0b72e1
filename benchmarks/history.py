"""Jobs that have run already: decisions to append to a journal, and commits to project."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from shared.application.clock import from_us, to_us
from shared.application.collecting import collected
from shared.application.expressions import evaluate
from shared.application.ids import new_id
from shared.application.ports import Decision, StoredCommit
from shared.domain.graph import Graph
from shared.domain.job.job import Job
from shared.domain.job.spec import Facts, JobSpec
from shared.domain.topics import AGGREGATES, EVENTS
from shared.domain.values import TaskError
from shared.journal.codec import Codec

TENANT = "default"
SKILL = "recorded"
"""A skill that no worker has, so that nobody runs these jobs again."""

EVENTS_PER_JOB = 4
COMMITS_PER_JOB = 2

WORKFLOWS = 20
CUSTOMERS = 1000
FAILED_EACH = 100
OPEN_EACH = 1000

_BY = "client:benchmark"
_WORKER = "worker:benchmark"
_NAME = "benchmark"


def one_step(job_id: UUID, now: datetime) -> tuple[Job, Decision]:
    """A job of one step that was just accepted, and the decision to store: two events."""
    spec = JobSpec(skill=SKILL, input={"job": "j"}, tenant=TENANT, owner=_BY)
    job = Job.accept(job_id, spec, _facts(now))
    return job, Decision("job", job_id, collected(job), _BY)


def finish(job: Job, now: datetime, prev: bytes) -> Decision:
    """The decision that ends it well: two events. `prev` is the SHA-256 of its stored first commit."""
    job.succeed(1, 1, _NAME, {"ok": 1}, _facts(now), started_at=to_us(now))
    return Decision("job", job.id, collected(job), _WORKER, prev)


def commits(jobs: int, start: datetime, seed: int = 1) -> Iterator[list[StoredCommit]]:
    """The commits of `jobs` jobs, one a millisecond, in batches of 1000 jobs, as a follower gives them.

    20 workflows, 1000 customers as a tag; one job in 100 failed, one in 1000 is still open. The fields are
    those that the domain gives; only ids, names and times differ from job to job.
    """
    random = Random(seed)
    good, bad = _template(start, fails=False), _template(start, fails=True)
    sequence = 0
    batch: list[StoredCommit] = []
    for number in range(jobs):
        kind = bad if number % FAILED_EACH == 0 else good
        last = 1 if number % OPEN_EACH == 1 else len(kind)
        job_id, at = new_id(), to_us(start + timedelta(milliseconds=number))
        for commit in kind[:last]:
            sequence += 1
            batch.append(replace(commit, sequence=sequence, id=job_id, at=at, events=_named(commit, random)))
        if number % 1000 == 999:
            yield batch
            batch = []
    if batch:
        yield batch


def _named(commit: StoredCommit, random: Random) -> list[tuple[str, Any]]:
    (topic, fields), *rest = commit.events
    if commit.n != 1:
        return list(commit.events)
    names = {
        "skill": None,
        "workflow": f"workflow-{random.randrange(WORKFLOWS)}",
        "tags": {"customer": str(random.randrange(CUSTOMERS))},
    }
    return [(topic, {**fields, **names}), *rest]


def _template(start: datetime, *, fails: bool) -> list[StoredCommit]:
    """The commits of one job, through the journal's own codec."""
    job, accepted = one_step(new_id(), start)
    if fails:
        job.fail(1, 1, _NAME, TaskError("permanent", "it cannot be done"), _facts(start))
        ended = Decision("job", job.id, collected(job), _WORKER, bytes(32))
    else:
        ended = finish(job, start, bytes(32))
    codec = Codec(EVENTS, AGGREGATES)
    encoded = [commit for decision in (accepted, ended) for commit in codec.encode(decision)]
    assert len(encoded) == COMMITS_PER_JOB, "one commit a decision"
    return [codec.decode(1, commit.subject, commit.raw) for commit in encoded]


def _facts(now: datetime) -> Facts:
    return Facts(now, Graph.of_skill(SKILL), evaluate)


START = from_us(1_750_000_000_000_000)
"""When recorded jobs begin, unless they are recorded now."""
