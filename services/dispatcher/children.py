"""Child jobs: accepted under an id that follows from the parent, so that starting one twice starts one."""

from collections.abc import Callable
from dataclasses import dataclass

from shared.application.definitions import Definitions
from shared.application.ports import Journal
from shared.application.submit import REQUEST_DIGEST, Submit
from shared.domain.job import Job, JobSpec, StartChild
from shared.domain.values import Json
from shared.telemetry.ids import traceparent_of


class Children:
    """Accepts the children that jobs ask for."""

    def __init__(self, journal: Journal, definitions: Definitions, submit: Submit) -> None:
        self._journal, self._definitions, self._submit = journal, definitions, submit

    async def start(self, parent: Job, effect: StartChild) -> Job:
        """The child as it is now, accepted if it was not there.

        Raises UnknownWorkflow or DomainError when it cannot be; the parent is told so as its outcome.
        """
        child = effect.child
        recorded = await self._journal.load(Job, child)
        if recorded is None:
            inherited = parent.spec
            definition = await self._definitions.find(inherited.tenant, effect.workflow, effect.version, None)
            spec = JobSpec(
                workflow=effect.workflow,
                version=definition.version,
                definition=definition.hash,
                input=effect.input,
                tenant=inherited.tenant,
                owner=inherited.owner,
                urgency=inherited.urgency,
                origin=inherited.origin,
                deadline=_first(inherited.deadline, effect.deadline),
                dispatch_timeout=effect.dispatch_timeout or inherited.dispatch_timeout,
                run_timeout=inherited.run_timeout,
                retry=inherited.retry,
                policy=inherited.policy,
                max_transitions=inherited.max_transitions,
                max_depth=inherited.max_depth,
                metadata=_kept(inherited.metadata),
                parent={"job": str(parent.id), "activation": effect.activation},
                depth=inherited.depth + 1,
                trace=traceparent_of(parent.id, inherited.trace, 1),
                trigger="parent",
            )
            await self._submit(child, spec, definition.graph, f"job:{parent.id}")
            recorded = await self._journal.load(Job, child)
            assert recorded is not None, "a job that was just accepted is there"
        return recorded.aggregate


def _kept(metadata: dict[str, Json] | None) -> dict[str, Json] | None:
    """What a child has of its parent's metadata: all but what made the parent the one of its request."""
    return {name: value for name, value in (metadata or {}).items() if name != REQUEST_DIGEST} or None


def _first(*moments: int | None) -> int | None:
    return min((moment for moment in moments if moment is not None), default=None)


class FlowLanes:
    """Children are released like everything else here: as far as flow control has room."""

    def __init__(self, room: Callable[[], Callable[[str], bool]]) -> None:
        self._room = room

    def reserve(self) -> "FlowLane":
        """The room as one decision sees it."""
        return FlowLane(self._room())


@dataclass(frozen=True, slots=True)
class FlowLane:
    """What is released is counted when the journal tells of it, so there is nothing to settle."""

    has_room: Callable[[str], bool]

    def stored(self, sequence: int) -> None:
        """Nothing to do."""

    def dropped(self) -> None:
        """Nothing to do."""
