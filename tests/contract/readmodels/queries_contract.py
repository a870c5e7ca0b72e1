"""What every backend of the read model answers. A backend's tests subclass this."""

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast
from uuid import UUID

import pytest

from shared.application.reputation import RESULTS, Standing
from shared.application.summary import OPEN, JobSummary
from shared.domain.worker import worker_id
from shared.readmodels import pages, queries
from shared.readmodels.database import Database, Session
from shared.readmodels.errors import InvalidCursor
from shared.readmodels.projection import Projection
from shared.readmodels.queries import JobFilter
from shared.readmodels.tallies import SUM, of_beginning, of_end
from tests.contract.readmodels.contract import folded, projected
from tests.contract.readmodels.histories import START, commit, history, job_id, one_step

IGNORED = {"task": 1, "attempt": 1, "worker": "w1", "reason": "late", "kind": "result"}


class QueriesContract:
    """Reading. `database` is an empty place for a store."""

    @pytest.fixture
    def database(self) -> Iterator[Database]:
        raise NotImplementedError

    def test_a_job_reads_as_its_events_fold(self, database: Database) -> None:
        commits = history(1)
        session = projected(database, commits)
        for id_, job in folded(commits).items():
            assert queries.job(session, id_) == job
        assert queries.job(session, job_id("none")) is None

    @pytest.mark.parametrize("size", [1, 3, 64])
    def test_workers_stand_as_their_results_say_however_the_batches_fall(
        self, database: Database, size: int
    ) -> None:
        commits = history(3, jobs=60)
        expected: dict[str, Standing] = {}
        for each in commits:
            for topic, data in each.events:
                if topic == "TaskFailed":
                    cast(dict[str, Any], data)["error"] = {"kind": "permanent", "message": "no"}
                if topic in RESULTS:
                    expected.setdefault(data["worker"], Standing()).apply(topic, data, each.at)
        session = projected(database, commits, size)
        assert any(standing.reputation < 1 for standing in expected.values()), "some failed"
        ids = [worker_id(name) for name in (*expected, "nobody")]
        found = queries.standings(session, ids)
        assert found == {worker_id(name): standing for name, standing in expected.items()}

    def test_the_newest_job_of_an_alias_is_found_in_its_tenant_only(self, database: Database) -> None:
        commits = [
            *one_step(1, "a", alias="order-1"),
            *one_step(3, "b", alias="order-1"),
            *one_step(5, "c", alias="order-1", tenant="acme"),
        ]
        session = projected(database, commits)
        found = queries.job_by_alias(session, "default", "order-1")
        assert found is not None
        assert found.id == str(job_id("b"))
        assert queries.job_by_alias(session, "default", "order-2") is None
        assert queries.job_by_alias(session, "default", "order\0\ud800") is None

    @pytest.mark.parametrize("many", [0, 5, 15_000])
    def test_every_filter_shows_what_a_plain_scan_would(
        self, database: Database, monkeypatch: pytest.MonkeyPatch, many: int
    ) -> None:
        # The fewer are counted, the more other filters lead.
        monkeypatch.setattr(pages, "_MANY", many)
        commits = history(2, jobs=60)
        session = projected(database, commits)
        jobs = list(folded(commits).values())
        chance = random.Random(3)
        shown = 0
        for _ in range(150):
            wanted = _random_filter(chance)
            expected = sorted(
                (job for job in jobs if _passes(job, wanted)),
                key=lambda job: (job.created_at, job.first_sequence),
                reverse=True,
            )
            found = _all_pages(session, wanted, limit=chance.randrange(1, 9))
            assert [job.id for job in found] == [job.id for job in expected], wanted
            shown += len(found)
        assert shown > 500, "most filters find something"

    def test_a_listed_job_lacks_only_its_input_and_output(self, database: Database) -> None:
        commits = history(4)
        session = projected(database, commits)
        whole = folded(commits)
        for job in queries_page(session):
            expected = whole[UUID(job.id)]
            expected.input = expected.output = None
            assert job == expected

    def test_a_page_is_stable_while_newer_jobs_arrive(self, database: Database) -> None:
        session = projected(database, [c for n in range(6) for c in one_step(1 + 2 * n, n)])
        first = pages.page(session, JobFilter("default"), 3)
        Projection(session).project(one_step(20, "newer"))
        second = pages.page(session, JobFilter("default"), 3, first.next)
        ids = [job.id for job in (*first.jobs, *second.jobs)]
        assert ids == [str(job_id(n)) for n in (5, 4, 3, 2, 1, 0)]
        assert second.next is None

    @pytest.mark.parametrize(
        "cursor", ["?", "x" * 5000, "MTIz", "LTEuMg", "é", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5LjE"]
    )
    def test_a_cursor_that_is_not_ours_is_refused(self, database: Database, cursor: str) -> None:
        session = database.writer()
        with pytest.raises(InvalidCursor):
            pages.page(session, JobFilter("default"), 3, cursor)

    @pytest.mark.parametrize("text", ["\0", "\ud800", "'; DROP TABLE jobs; --", "%", "?"])
    def test_a_filter_of_any_text_answers(self, database: Database, text: str) -> None:
        session = projected(database, history(5))
        for wanted in (
            JobFilter(text),
            JobFilter("default", frozenset({text})),
            JobFilter("default", workflow=text),
            JobFilter("default", skill=text),
            JobFilter("default", alias=text),
            JobFilter("default", tags=((text, text),)),
        ):
            assert pages.page(session, wanted).jobs == []

    def test_counts_are_those_of_a_recount(self, database: Database) -> None:
        commits = history(6, jobs=50)
        session = projected(database, commits, size=3)
        jobs = folded(commits).values()
        assert queries.counts(session) == Counter(job.status for job in jobs)
        acme = Counter(job.status for job in jobs if job.tenant == "acme")
        assert queries.counts(session, "acme") == acme
        owners = {(job.tenant, job.owner) for job in jobs}
        assert len(owners) > 1
        for tenant, owner in owners:
            own = Counter(job.status for job in jobs if (job.tenant, job.owner) == (tenant, owner))
            assert queries.counts(session, tenant, owner) == own
        assert queries.counts(session, "acme", "nobody") == {}
        by_workflow: dict[str, Counter[str]] = {}
        for job in jobs:
            by_workflow.setdefault(job.workflow or "", Counter())[job.status] += 1
        assert queries.measures(session).counts == by_workflow

    def test_tallies_are_those_of_a_recount_however_commits_come(self, database: Database) -> None:
        commits = history(6, jobs=50)
        expected: dict[str, Counter[str]] = {}
        for job in folded(commits).values():
            told = [*of_beginning(job), *(of_end(job) if job.is_ended else ())]
            for name, n in told:
                expected.setdefault(job.workflow or "", Counter())[name] += n
        for size in (1, 7, 1000):
            session = database.beside()
            projection = Projection(session)
            for start in range(0, len(commits), size):
                projection.project(commits[start : start + size])
            tallies = queries.measures(session).tallies
            assert tallies == expected
            session.close()
        assert sum(n for names in expected.values() for name, n in names.items() if name == SUM) > 0

    def test_a_job_is_tallied_once_though_reports_come_behind_its_end(self, database: Database) -> None:
        accepted, ended = one_step(1, "a")
        late = commit(3, job_id("a"), ended.last_version + 1, [("ReportIgnored", IGNORED)])
        session = projected(database, [accepted, ended, late], size=1)
        (tallies,) = queries.measures(session).tallies.values()
        assert [n for name, n in tallies.items() if name != SUM] == [1]

    def test_due_jobs_come_most_overdue_first_and_never_too_soon(self, database: Database) -> None:
        commits = history(7, jobs=50)
        session = projected(database, commits, size=5)
        now = START + 5 * 10**8
        dues = sorted(job.due_at for job in folded(commits).values() if job.due_at)
        overdue = [due for due in dues if due <= now]
        assert 0 < len(overdue) < len(dues)
        assert [job.due_at for job in queries.due_jobs(session, now, 1000)] == overdue
        assert [job.due_at for job in queries.due_jobs(session, now, 2)] == overdue[:2]

    def test_open_jobs_are_all_that_have_not_ended_at_one_position(self, database: Database) -> None:
        commits = history(8, jobs=50)
        session = projected(database, commits)
        found = {}
        for position, jobs in queries.open_jobs(session, size=3):
            assert position == commits[-1].sequence
            found.update({UUID(job.id): job for job in jobs})
        expected = {id_: job for id_, job in folded(commits).items() if job.status in OPEN}
        assert found.keys() == expected.keys()
        assert len(found) > 5
        for id_, job in expected.items():
            assert found[id_].tasks == job.tasks

    def test_open_jobs_tell_the_position_also_when_there_are_none(self, database: Database) -> None:
        session = projected(database, one_step(1, "a"))
        assert list(queries.open_jobs(session)) == [(2, [])]

    def test_workers_and_workflows_are_shown(self, database: Database) -> None:
        session = projected(database, history(9))
        assert [(w.name, w.status) for w in queries.workers(session)] == [("w0", "lost"), ("w1", "lost")]
        (workflow,) = queries.workflows(session, "default")
        assert (workflow.name, workflow.newest) == ("convert", 3)
        assert [version.definition for version in workflow.versions] == ["hash-1", "hash-2", "hash-3"]
        assert queries.workflow(session, "default", "convert") == workflow
        assert queries.workflow(session, "acme", "convert") is None
        assert queries.workflows(session, "acme") == []


def _all_pages(session: Session, wanted: JobFilter, limit: int) -> list[JobSummary]:
    page = pages.page(session, wanted, limit)
    jobs = page.jobs
    while page.next is not None:
        assert len(page.jobs) == limit
        page = pages.page(session, wanted, limit, page.next)
        jobs += page.jobs
    return jobs


def _random_filter(chance: random.Random) -> JobFilter:
    def maybe(value: Any, often: float = 0.25) -> Any:
        return value if chance.random() < often else None

    statuses = chance.sample(("succeeded", "failed", "queued", "running", "cancelled"), chance.randrange(4))
    tags = (("env", chance.choice(("prod", "dev"))), ("n", str(chance.randrange(3))))
    created = START + chance.randrange(200_000)
    return JobFilter(
        tenant=maybe(chance.choice(("default", "acme")), 0.7),
        statuses=frozenset(maybe(statuses, 0.4) or ()),
        workflow=maybe(chance.choice(("convert", "notify"))),
        skill=maybe(chance.choice(("resize", "ocr"))),
        alias=maybe(f"order-{chance.randrange(4)}", 0.15),
        parent=maybe(job_id(f"parent-{chance.randrange(2)}"), 0.15),
        tags=tuple(maybe(chance.sample(tags, chance.randrange(1, 3)), 0.3) or ()),
        created_from=maybe(created, 0.2),
        created_before=maybe(created + chance.randrange(200_000), 0.2),
    )


def _passes(job: JobSummary, wanted: JobFilter) -> bool:
    return (
        wanted.tenant in (None, job.tenant)
        and (not wanted.statuses or job.status in wanted.statuses)
        and wanted.workflow in (None, job.workflow)
        and wanted.skill in (None, job.skill)
        and wanted.alias in (None, job.alias)
        and (wanted.parent is None or (job.parent or {}).get("job") == str(wanted.parent))
        and all(job.tags.get(name) == value for name, value in wanted.tags)
        and (wanted.created_from is None or job.created_at >= wanted.created_from)
        and (wanted.created_before is None or job.created_at < wanted.created_before)
    )


def queries_page(session: Session) -> list[JobSummary]:
    return pages.page(session, JobFilter(), 500).jobs
