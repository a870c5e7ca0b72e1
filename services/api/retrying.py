"""Running an ended job again: a new job with the same order, that names the old one."""

from uuid import UUID

from services.api.principals import Principal
from shared.application.clock import now_us
from shared.application.definitions import Definitions
from shared.application.ids import new_id
from shared.application.ports import Journal
from shared.application.submit import REQUEST_DIGEST, Submit, Submitted, job_id_of, summary_of
from shared.application.summary import JobSummary
from shared.domain.errors import IllegalTransition
from shared.domain.job.spec import JobSpec


class Retrying:
    """The use case behind POST /v1/jobs/{id}/retry."""

    def __init__(self, journal: Journal, submit: Submit, definitions: Definitions) -> None:
        self._journal, self._submit, self._definitions = journal, submit, definitions

    async def __call__(self, principal: Principal, summary: JobSummary, key: str | None) -> Submitted:
        """Submit the job of `summary` anew, in the version that it ran. Raises IllegalTransition while it
        runs.
        """
        old = UUID(summary.id)
        # The spec is read from the job's first event: the read model keeps only what it shows. It may also be
        # behind: the one who saw the job end a moment ago may run it again.
        commits = await self._journal.history("job", old)
        newest = summary_of(old, commits) or summary
        if not newest.is_ended:
            raise IllegalTransition("retry", newest.status, f"it has not ended: {newest.status}")
        accepted = dict(commits[0].events[0][1])
        digest = None if key is None else f"retry:{old}"
        metadata = {
            name: v for name, v in (accepted.pop("metadata", None) or {}).items() if name != REQUEST_DIGEST
        }
        if digest is not None:
            metadata[REQUEST_DIGEST] = digest
        deadline = accepted.pop("deadline", None)
        if deadline is not None:
            deadline = now_us() + (deadline - commits[0].at)
        definition = await self._definitions.find(
            principal.tenant, accepted.get("workflow"), accepted.get("version"), accepted.get("skill")
        )
        fields = {name: value for name, value in accepted.items() if name in _SPEC}
        spec = JobSpec(
            **{
                **fields,
                "owner": principal.subject,
                "deadline": deadline,
                "metadata": metadata,
                "retry_of": str(old),
                "parent": None,
                "depth": 0,
                "trigger": "retry",
                "alias": None,
            }
        )
        job_id = new_id() if key is None else job_id_of(principal.tenant, key)
        return await self._submit(job_id, spec, definition.graph, principal.by, digest)


_SPEC = frozenset(JobSpec.__dataclass_fields__)
