"""What the API asks of the read model, and how it finds one job when the read model is behind."""

from collections.abc import Collection, Mapping
from typing import Protocol
from uuid import UUID

from services.api.principals import Principal
from services.api.problems import Problem, retry_after
from shared.application.ports import Journal
from shared.application.reputation import Standing
from shared.application.submit import summary_of
from shared.application.summary import JobSummary, WorkerSummary, WorkflowSummary
from shared.readmodels.errors import ReadModelUnavailable
from shared.readmodels.queries import JobFilter, Measures, Page

CATCH_UP_SECONDS = 2.0


class Reads(Protocol):
    """The read model. Everything may raise ReadModelUnavailable."""

    async def job(self, id: UUID) -> JobSummary | None: ...  # noqa: A002
    async def page(self, wanted: JobFilter, limit: int = 50, cursor: str | None = None) -> Page: ...
    async def counts(self, tenant: str | None = None, owner: str | None = None) -> dict[str, int]: ...
    async def measures(self) -> Measures: ...
    async def poison_count(self) -> int: ...
    async def workers(self) -> list[WorkerSummary]: ...
    async def standings(self, workers: Collection[UUID]) -> Mapping[UUID, Standing]: ...
    async def workflows(self, tenant: str) -> list[WorkflowSummary]: ...
    async def position(self) -> int: ...
    async def wait_for(self, sequence: int, timeout: float) -> bool: ...


class Jobs:
    """One job, as a principal may see it."""

    def __init__(self, reads: Reads, journal: Journal) -> None:
        self._reads, self._journal = reads, journal

    async def find(self, principal: Principal, job: str, min_sequence: int = 0) -> JobSummary:
        """The job, as of `min_sequence` or later. Another tenant's job is as unknown as none: Problem 404.

        The read model answers when it can; else the journal does, so a job is there as soon as it was
        accepted.
        """
        job_id = job_id_of_path(job)
        summary = await self._from_reads(job_id, min_sequence)
        # A foreign job takes the way of one that is not there, so that the time tells nothing either.
        if summary is None or summary.tenant != principal.tenant:
            summary = summary_of(job_id, await self._journal.history("job", job_id))
            if min_sequence and await self._journal.last_sequence() < min_sequence:
                raise retry_after("read_model_behind", f"Nothing stands at sequence {min_sequence} yet.")
        if summary is None or summary.tenant != principal.tenant:
            raise no_such_job(job)
        return summary

    async def _from_reads(self, job_id: UUID, min_sequence: int) -> JobSummary | None:
        try:
            summary = await self._reads.job(job_id)
            if summary is None or summary.sequence >= min_sequence:
                return summary
            if not await self._reads.wait_for(min_sequence, CATCH_UP_SECONDS):
                return None
            return await self._reads.job(job_id)
        except ReadModelUnavailable:
            return None


def job_id_of_path(text: str) -> UUID:
    """The id in a path, which has one spelling only. Raises Problem 404."""
    try:
        job = UUID(text)
    except ValueError:
        raise no_such_job(text) from None
    if str(job) != text:
        raise no_such_job(text)
    return job


def no_such_job(text: str) -> Problem:
    return Problem("job_not_found", f"No job has the id {text[:64]!r}.")
