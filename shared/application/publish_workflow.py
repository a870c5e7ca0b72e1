"""Publishing a workflow: a new graph makes a new version, the same graph makes none."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.application.collecting import collected
from shared.application.definitions import Definitions
from shared.application.endpoint_names import check_endpoint
from shared.application.expressions import check
from shared.application.ports import Decision, Journal, UnknownOutcome, VersionConflict
from shared.domain.errors import ExpressionError, InvalidGraph
from shared.domain.graph import Graph
from shared.domain.values import Json
from shared.domain.workflow import Workflow, workflow_id

TRIES: Final = 5
"""How often a lost race is decided again. Two clients publishing one name at once is rare; five is never."""


@dataclass(frozen=True, slots=True)
class Published:
    """The version that holds the graph now. `created` is False when it was there before."""

    version: int
    definition: str
    sequence: int
    created: bool


class PublishWorkflow:
    """The use case. One instance serves all requests of a process."""

    def __init__(self, journal: Journal, definitions: Definitions, now: Callable[[], datetime]) -> None:
        self._journal, self._definitions, self._now = journal, definitions, now

    async def __call__(
        self,
        tenant: str,
        name: str,
        graph: dict[str, Json],
        by: str,
        *,
        origin: str = "native",
        source: str | None = None,
    ) -> Published:
        """Publish `graph` as `name`. Raises InvalidGraph, VersionConflict when races are lost again and
        again, UnknownOutcome and JournalUnavailable; publishing again is always safe.
        """
        _check_expressions(Graph.parse(graph))
        check_endpoint(graph)
        key = workflow_id(tenant, name)
        for attempt in range(1, TRIES + 1):
            recorded = await self._journal.load(Workflow, key)
            workflow = Workflow.named(tenant, name, self._now()) if recorded is None else recorded.aggregate
            workflow.publish(graph, origin=origin, source=source, now=self._now())
            newest = workflow.newest
            events = collected(workflow)
            if not events:
                assert recorded is not None, "a workflow begins with a version"
                return Published(newest.version, newest.definition, recorded.sequence, created=False)
            decision = Decision("workflow", key, events, by, None if recorded is None else recorded.tip)
            try:
                appended = await self._journal.append(decision)
            except (VersionConflict, UnknownOutcome):
                if attempt == TRIES:
                    raise
                continue
            self._definitions.forget(key)
            return Published(newest.version, newest.definition, appended.sequence, created=True)
        raise AssertionError("the last try returns or raises")


def _check_expressions(graph: Graph) -> None:
    """Raise InvalidGraph for expressions that can never run, so that no job finds out."""
    problems = []
    for node, expression in graph.expressions():
        try:
            check(expression)
        except ExpressionError as error:
            problems.append(f"node {node!r}: {error}")
    if problems:
        raise InvalidGraph(problems)
