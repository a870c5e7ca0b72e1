from itertools import chain
from pathlib import Path
from uuid import UUID

from benchmarks.history import COMMITS_PER_JOB, EVENTS_PER_JOB, START, commits, finish, one_step
from benchmarks.workloads import WORKLOADS
from shared.application.clock import utc_now
from shared.domain.graph import Graph
from shared.domain.topics import AGGREGATES, EVENTS
from shared.journal.chain import verify
from shared.journal.memory import MemoryJournal
from shared.readmodels import pages, queries
from shared.readmodels.projection import Projection
from shared.readmodels.queries import JobFilter
from shared.readmodels.sqlite import SqliteDatabase


async def test_a_recorded_job_is_one_that_the_domain_would_have_made() -> None:
    journal = MemoryJournal(EVENTS, AGGREGATES)
    job, accepted = one_step(UUID(int=7), utc_now())
    stored = await journal.append(accepted)
    await journal.append(finish(job, utc_now(), stored.tip))
    history = await journal.history("job", UUID(int=7))
    assert len(history) == COMMITS_PER_JOB
    assert sum(len(commit.events) for commit in history) == EVENTS_PER_JOB
    assert history[-1].events[-1][0] == "JobSucceeded"
    assert verify(history) is not None


def test_recorded_commits_become_rows_without_poison(tmp_path: Path) -> None:
    projection = Projection(SqliteDatabase(tmp_path).writer())
    made = list(chain.from_iterable(commits(2002, START)))
    projection.project(made)
    assert projection.poisoned == 0
    assert [commit.sequence for commit in made] == list(range(1, projection.position + 1))
    reader = SqliteDatabase(tmp_path).reader()
    assert queries.counts(reader) == {"queued": 3, "failed": 21, "succeeded": 1978}
    (job,) = pages.page(reader, JobFilter(tenant="default"), 1).jobs
    assert str(job.workflow).startswith("workflow-")
    assert "customer" in job.tags


def test_the_same_seed_gives_the_same_names() -> None:
    first, again = (next(iter(commits(3, START)))[0].events[0][1] for _ in range(2))
    assert (first["workflow"], first["tags"]) == (again["workflow"], again["tags"])


def test_the_graphs_of_the_workloads_are_valid() -> None:
    for workload in WORKLOADS:
        if workload.graph is not None:
            Graph.parse(dict(workload.graph))
