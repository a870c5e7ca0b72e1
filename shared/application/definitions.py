"""Which graph a job runs: a published workflow by name and version, or the one-task graph of a skill."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple
from uuid import UUID

from shared.application.ports import Journal, JournalError
from shared.domain.graph import Graph
from shared.domain.workflow import Workflow, workflow_id

log = logging.getLogger(__name__)

MAX_CACHED: Final = 1_000
MAX_AGE_SECONDS: Final = 5.0
"""How old a cached workflow may get before it is read again, should no news of a new version have come."""


class Definition(NamedTuple):
    """A graph with its content hash; `version` is None for a skill's own graph."""

    version: int | None
    hash: str
    graph: Graph


class UnknownWorkflow(Exception):
    """No such workflow, or not in this version."""

    def __init__(self, name: str, version: int | None) -> None:
        which = f"workflow {name!r}" if version is None else f"version {version} of workflow {name!r}"
        super().__init__(f"there is no {which}")
        self.name, self.version = name, version


class Definitions:
    """Finds definitions, keeping those used last. `forget` a workflow when the journal tells of a new
    version.
    """

    def __init__(
        self,
        journal: Journal,
        max_age_seconds: float = MAX_AGE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal, self._max_age, self._monotonic = journal, max_age_seconds, monotonic
        self._workflows: OrderedDict[UUID, tuple[float, Workflow | None]] = OrderedDict()
        self._news = 0

    async def find(
        self, tenant: str, workflow: str | None, version: int | None, skill: str | None
    ) -> Definition:
        """The definition of `workflow` (the newest version when None is named) or of `skill`. Raises
        UnknownWorkflow.
        """
        if skill is not None:
            graph = Graph.of_skill(skill)
            return Definition(None, graph.hash, graph)
        assert workflow is not None, "a job names a workflow or a skill"
        found = await self.workflow(tenant, workflow)
        if found is None or (version is None and found.is_deleted):
            raise UnknownWorkflow(workflow, version)
        published = found.newest if version is None else found.get(version)
        if published is None:
            raise UnknownWorkflow(workflow, version)
        return Definition(published.version, published.definition, published.graph)

    async def workflow(self, tenant: str, name: str) -> Workflow | None:
        """A workflow with all its versions, None when there is none."""
        key = workflow_id(tenant, name)
        cached = self._workflows.get(key)
        if cached is not None and self._monotonic() - cached[0] < self._max_age:
            self._workflows.move_to_end(key)
            return cached[1]
        news = self._news
        recorded = await self._journal.load(Workflow, key)
        found = None if recorded is None else recorded.aggregate
        # Names that do not exist are everybody's to invent: never cached. Nor is what may be older than news
        # that came while it was read.
        if found is not None and news == self._news:
            self._workflows[key] = (self._monotonic(), found)
            while len(self._workflows) > MAX_CACHED:
                self._workflows.popitem(last=False)
        return found

    def forget(self, workflow: UUID) -> None:
        """Read this workflow again when it is asked for next."""
        self._news += 1
        self._workflows.pop(workflow, None)

    def clear(self) -> None:
        """Read every workflow again."""
        self._news += 1
        self._workflows.clear()


async def forget_as_published(journal: Journal, definitions: Definitions) -> None:
    """Follow the workflows in the journal for ever and forget each that changes.

    While the journal cannot be followed, what is cached is read again by its age.
    """
    while True:
        try:
            async for commits in journal.follow(await journal.last_sequence(), ("workflow",)):
                for commit in commits:
                    definitions.forget(commit.id)
        except JournalError as error:
            log.warning("cannot follow the workflows: %s", error)
            await asyncio.sleep(MAX_AGE_SECONDS)
