"""What a schedule of blueprints makes: a background job of the default client."""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final

from shared.application.blueprint_orders import Bounds, spec_of
from shared.application.blueprint_words import CLIENT_TAG, TRIGGER_TAG
from shared.application.definitions import Definition, Definitions
from shared.application.inputs import input_problem
from shared.application.ports import Journal
from shared.application.submit import REQUEST_DIGEST, Submit
from shared.domain.errors import InvalidValue
from shared.domain.job.spec import JobSpec
from shared.domain.metadata import CLIENT, SECURITY
from shared.domain.schedule import Fire
from shared.domain.values import DEFAULT_TENANT, Json
from shared.settings import Settings

OWNER: Final = "client"
"""The client of CLIENT_TOKEN: it sees scheduled jobs, and may cancel them."""
BY: Final = "system:scheduler"
SCHEDULE: Final = "daybook.schedule"
"""The metadata key that names schedule and planned time."""
SCHEDULE_TAG: Final = "schedule"


class BlueprintFiring:
    """Submits the job of a fire, under the fire's id."""

    def __init__(
        self,
        journal: Journal,
        submit: Submit,
        definitions: Definitions,
        settings: Settings,
        now_us: Callable[[], int],
    ) -> None:
        self._journal, self._submit, self._definitions = journal, submit, definitions
        self._settings, self._now_us = settings, now_us

    async def fire(self, name: str, job: Mapping[str, Json], fire: Fire) -> bool:
        """Whether this made the job."""
        blueprint = str(job["blueprint"])
        definition = await self._definitions.find(DEFAULT_TENANT, blueprint, None, None)
        problem = input_problem(definition.graph, job["input_data"])
        if problem is not None:
            raise InvalidValue(f"Input validation failed for blueprint {blueprint!r}: {problem}")
        # Whoever repeats the fire means the same job, even if the timetable has changed meanwhile.
        digest = sha256(fire.job.bytes).hexdigest()
        spec = self._spec(name, job, fire, digest, definition)
        submitted = await self._submit(fire.job, spec, definition.graph, BY, digest)
        return submitted.created

    async def has_fired(self, fire: Fire) -> bool:
        """Whether the fire's job is there."""
        return bool(await self._journal.history("job", fire.job))

    def _spec(
        self, name: str, job: Mapping[str, Any], fire: Fire, digest: str, definition: Definition
    ) -> JobSpec:
        settings = self._settings
        return spec_of(
            definition,
            Bounds(settings.job_max_retries, settings.worker_timeout_seconds, settings.max_holarchy_depth),
            self._now_us(),
            workflow=str(job["blueprint"]),
            input=job["input_data"],
            tenant=DEFAULT_TENANT,
            owner=OWNER,
            tags={CLIENT_TAG: OWNER, SCHEDULE_TAG: name, **dict([TRIGGER_TAG])},
            said=job.get("metadata", {}),
            kept={
                CLIENT: {"plan": "system", "params": {"source": f"scheduler:{name}"}},
                SECURITY: job.get("security"),
                SCHEDULE: {"name": name, "planned": fire.planned.isoformat()},
                REQUEST_DIGEST: digest,
            },
            dispatch_timeout=job.get("dispatch_timeout"),
            result_timeout=job.get("result_timeout"),
            max_transitions=settings.max_transitions_per_job,
            trigger="schedule",
        )
