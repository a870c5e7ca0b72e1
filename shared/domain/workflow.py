"""The workflow aggregate: the published versions of a graph, each for ever."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Final, Self
from uuid import UUID, uuid5

from eventsourcing.domain import Aggregate, AggregateEvent

from shared.domain.errors import NotThere
from shared.domain.graph import Graph
from shared.domain.recurring import Named, Recurring
from shared.domain.values import Json

WORKFLOW_NAMESPACE: Final = UUID("0b9d1f0a-3b1c-5c55-9a41-7f6e2f6a4c10")


def workflow_id(tenant: str, name: str) -> UUID:
    """The id of the workflow that a tenant calls `name`."""
    return uuid5(WORKFLOW_NAMESPACE, f"{tenant}/{name}")


@dataclass(slots=True)
class PublishedVersion:
    """One version: its number from 1, the hash of its graph, and the document as it was published."""

    version: int
    definition: str
    document: dict[str, Json]
    origin: str
    source: str | None
    published_at: datetime
    _graph: Graph | None = field(default=None, compare=False, repr=False)

    @property
    def graph(self) -> Graph:
        """The parsed graph, parsed when it is asked for first."""
        if self._graph is None:
            self._graph = Graph.parse(self.document)
        return self._graph


@dataclass(frozen=True)
class WorkflowPublished(Recurring):
    """A version was published. `source` is the document that it was translated from, verbatim."""

    TOPIC: ClassVar[str] = "WorkflowPublished"

    name: str
    version: int
    definition: str
    graph: dict[str, Json]
    tenant: str = ""
    origin: str = "native"
    source: str | None = None

    def apply(self, aggregate: "Workflow") -> None:
        aggregate.name, aggregate.tenant = self.name, self.tenant
        aggregate.is_deleted = False
        aggregate.versions.append(
            PublishedVersion(
                self.version, self.definition, self.graph, self.origin, self.source, self.timestamp
            )
        )


@dataclass(frozen=True)
class WorkflowDeleted(Aggregate.Event):
    """The workflow starts no more jobs; those that run keep their versions."""

    TOPIC: ClassVar[str] = "WorkflowDeleted"

    by: str = ""

    def apply(self, aggregate: "Workflow") -> None:
        aggregate.is_deleted = True


class Workflow(Named):
    """A named graph and its versions. The version numbers go on after a deletion."""

    TOPIC: ClassVar[str] = "Workflow"
    Event = Aggregate.Event
    Created = WorkflowPublished  # type: ignore[assignment]  # it has fields of its own
    Deleted = WorkflowDeleted

    def begin(self) -> None:
        self.name = ""
        self.tenant = ""
        self.versions: list[PublishedVersion] = []
        self.is_deleted = False

    @classmethod
    def named(cls, tenant: str, name: str, now: datetime) -> Self:
        """A workflow without any version yet, to publish the first."""
        workflow = cls.blank(workflow_id(tenant, name), now)
        workflow.name, workflow.tenant = name, tenant
        return workflow

    @property
    def newest(self) -> PublishedVersion:
        """What a new job runs. Raises NotThere when the workflow was deleted, or never published."""
        if self.is_deleted or not self.versions:
            raise NotThere("workflow", self.name)
        return self.versions[-1]

    def get(self, version: int) -> PublishedVersion | None:
        """A version, also of a deleted workflow, since jobs may run it still."""
        return self.versions[version - 1] if 0 < version <= len(self.versions) else None

    def publish(
        self,
        graph: Mapping[str, Json],
        *,
        now: datetime,
        origin: str = "native",
        source: str | None = None,
    ) -> PublishedVersion:
        """A new version, or the newest one when its graph is the same. Raises InvalidGraph."""
        document = dict(graph)
        parsed = Graph.parse(document)
        if not self.versions or self.is_deleted or self.versions[-1].definition != parsed.hash:
            self.trigger_event(
                WorkflowPublished,
                timestamp=now,
                originator_topic=self.TOPIC,
                name=self.name,
                tenant=self.tenant,
                version=len(self.versions) + 1,
                definition=parsed.hash,
                graph=document,
                origin=origin,
                source=source,
            )
        return self.versions[-1]

    def delete(self, *, now: datetime, by: str = "") -> None:
        """Deletes the workflow; again is no event. Raises NotThere when it was never published."""
        if not self.versions:
            raise NotThere("workflow", self.name)
        if not self.is_deleted:
            self.trigger_event(WorkflowDeleted, timestamp=now, by=by)


EVENTS: Final[tuple[type[AggregateEvent], ...]] = (WorkflowPublished, WorkflowDeleted)
