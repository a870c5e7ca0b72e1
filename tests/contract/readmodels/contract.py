"""How every backend of the read model writes. A backend's tests subclass this."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from shared.application.ports import StoredCommit
from shared.application.summary import JobSummary
from shared.readmodels import queries
from shared.readmodels.database import Database, Session
from shared.readmodels.digest import digest
from shared.readmodels.errors import PositionMoved
from shared.readmodels.projection import Projection
from tests.contract.readmodels.histories import commit, history, ids_of, job_id, one_step


def digest_of(session: Session) -> str:
    with session.snapshot():
        return digest(session)


def projected(database: Database, commits: Sequence[StoredCommit], size: int = 64) -> Session:
    session = database.writer()
    projection = Projection(session)
    for start in range(0, len(commits), size):
        projection.project(commits[start : start + size])
    return session


def folded(commits: Sequence[StoredCommit]) -> dict[UUID, JobSummary]:
    """The same jobs without any store."""
    jobs = {}
    for id_, own in ids_of(commits).items():
        job = jobs[id_] = JobSummary(str(id_))
        for each in own:
            for topic, data in each.events:
                job.apply(topic, data, each.at, each.sequence)
    return jobs


class ProjectionContract:
    """Writing. `database` is an empty place for a store."""

    @pytest.fixture
    def database(self) -> Iterator[Database]:
        raise NotImplementedError

    def test_commits_that_come_again_are_skipped(self, database: Database) -> None:
        commits = history(10)
        session = projected(database, commits)
        before = digest_of(session)
        projection = Projection(session)
        assert projection.project(commits) == commits[-1].sequence
        assert projection.poisoned == 0
        assert digest_of(session) == before

    def test_memory_that_holds_few_jobs_changes_nothing(self, database: Database) -> None:
        commits = history(11)
        whole = digest_of(projected(database, commits))
        session = database.beside()
        projection = Projection(session, hot=1)
        for each in commits:
            projection.project([each])
        assert digest_of(session) == whole

    def test_a_job_that_ended_keeps_its_output_when_more_is_said_of_it(self, database: Database) -> None:
        ignored = {"task": 1, "attempt": 1, "worker": "w2", "reason": "finished", "kind": "result"}
        late = commit(3, job_id("a"), 5, [("ReportIgnored", ignored)])
        job = queries.job(projected(database, [*one_step(1, "a"), late], size=1), job_id("a"))
        assert job is not None
        assert (job.input, job.output) == ({"of": "a"}, {"done": "a"})
        assert (job.sequence, job.version_of_job) == (3, 5)

    @pytest.mark.parametrize(
        ("why", "events", "n"),
        [
            ("unknown event", [("JobEnchanted", {})], 3),
            ("no events", [], 3),
            ("missing field", [("TaskSucceeded", {})], 3),
            ("wrong type", [("TaskProgressed", {"task": 1, "progress": "much", "worker": "w"})], 3),
            ("wrong shape", [("JobSucceeded", 7)], 3),
            ("unhashable", [("TaskCancelled", {"task": {}})], 3),
            ("half of it", [("JobPaused", {}), ("JobEnchanted", {})], 3),
            ("a number no column takes", [("TaskClaimed", {"task": 1, "worker": "w", "until": 2**70})], 3),
            ("a version that was", [("JobPaused", {})], 2),
        ],
    )
    def test_a_poisoned_commit_is_kept_and_stops_nothing(
        self, database: Database, why: str, events: Any, n: int
    ) -> None:
        first, second = one_step(1, "a")
        bad = commit(5, job_id("a"), n, events, raw=b"as it was stored")
        end = replace(second, sequence=6, n=n + 1)
        session = database.writer()
        projection = Projection(session)
        projection.project([first, *one_step(2, "b"), bad, end, *one_step(7, "c")])
        assert projection.poisoned == 1, why
        (kept,) = queries.poison(session)
        assert (kept.sequence, kept.id, kept.raw) == (5, str(job_id("a")), b"as it was stored")
        assert kept.reason
        assert queries.position(session) == 8
        assert queries.counts(session) == {"succeeded": 3}
        job = queries.job(session, job_id("a"))
        assert job is not None
        assert not job.paused

    @pytest.mark.parametrize("kind", ["worker", "workflow"])
    def test_other_kinds_can_be_poison_too(self, database: Database, kind: str) -> None:
        session = database.writer()
        projection = Projection(session)
        projection.project(
            [
                commit(1, job_id("x"), 1, [("NotOfThis", {})], kind=kind),
                commit(2, job_id("x"), 1, [("WorkerRegistered", {"name": {}})], kind=kind),
                commit(3, job_id("x"), 1, [("WorkflowPublished", {"name": 3})], kind=kind),
                commit(4, job_id("x"), 1, [], kind=kind),
                *one_step(5, "a"),
            ]
        )
        assert queries.poison_count(session) == 4
        assert queries.counts(session) == {"succeeded": 1}

    def test_a_job_without_its_beginning_is_poison(self, database: Database) -> None:
        session = projected(database, [one_step(1, "a")[1], *one_step(3, "b")])
        assert queries.poison_count(session) == 1
        assert queries.counts(session) == {"succeeded": 1}

    def test_a_job_that_is_accepted_twice_is_poison_the_second_time(self, database: Database) -> None:
        again = [replace(c, sequence=c.sequence + 2) for c in one_step(1, "a", tags={"k": "v"})]
        session = projected(database, [*one_step(1, "a", tags={"k": "v"}), *again], size=2)
        assert queries.poison_count(session) == 2
        assert queries.counts(session) == {"succeeded": 1}

    def test_a_second_projector_cannot_lose_or_double_an_update(self, database: Database) -> None:
        commits = history(12)
        first, second = Projection(database.writer()), Projection(database.writer())
        middle = len(commits) // 2
        first.project(commits[:middle])
        with pytest.raises(PositionMoved):
            second.project(commits[:5])
        assert second.position == first.position
        second.project(commits)
        with pytest.raises(PositionMoved):
            first.project(commits)
        first.project(commits)
        once = database.beside()
        Projection(once).project(commits)
        assert digest_of(database.writer()) == digest_of(once)

    def test_a_store_of_another_schema_version_is_begun_anew(self, database: Database) -> None:
        session = projected(database, one_step(1, "a"))
        session.write("UPDATE meta SET value = ? WHERE name = 'schema'", [(999,)])
        session.close()
        anew = database.writer()
        assert queries.position(anew) == 0
        assert queries.counts(anew) == {}
        assert queries.position(database.reader()) == 0
