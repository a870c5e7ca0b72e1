"""The graphs of the jobs on the desk, by content hash."""

from collections import OrderedDict
from typing import Final

from shared.application.definitions import Definitions, UnknownWorkflow
from shared.domain.errors import NotThere
from shared.domain.graph import Graph
from shared.domain.job import Job

MAX_GRAPHS: Final = 2_000


class PinnedGraphs:
    """A job runs the definition that it was accepted with, whatever was published since."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._graphs: OrderedDict[str, Graph] = OrderedDict()

    def known(self, job: Job) -> Graph | None:
        """The graph that `job` is pinned to, if it is in memory."""
        spec = job.spec
        if spec.skill is not None:
            return Graph.of_skill(spec.skill)
        graph = self._graphs.get(spec.definition)
        if graph is not None:
            self._graphs.move_to_end(spec.definition)
        return graph

    async def fetch(self, job: Job) -> Graph:
        """The graph that `job` is pinned to. Raises NotThere when its workflow has no such version."""
        graph = self.known(job)
        if graph is not None:
            return graph
        spec = job.spec
        try:
            found = await self._definitions.find(spec.tenant, spec.workflow, spec.version, None)
        except UnknownWorkflow as problem:
            raise NotThere("workflow", f"{spec.workflow} (version {spec.version})") from problem
        if found.hash != spec.definition:
            raise NotThere("definition", spec.definition)
        self._graphs[found.hash] = found.graph
        while len(self._graphs) > MAX_GRAPHS:
            self._graphs.popitem(last=False)
        return found.graph
