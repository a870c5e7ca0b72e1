"""Handlers of blueprints: Python that decides where a job goes, run outside this process, in limited time."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from shared.application.definitions import Definitions
from shared.application.ports import JournalError
from shared.application.publish_workflow import PublishWorkflow
from shared.blueprints.actions import view_of
from shared.blueprints.host import Code, HandlerFailed, HandlerHost
from shared.broker.errors import BrokerError
from shared.domain.errors import DomainError, InvalidValue
from shared.domain.job import Action, Facts, Job, RunHandler, TaskError
from shared.domain.values import DEFAULT_TENANT, Json

log = logging.getLogger("daybook.dispatcher.handlers")

ORIGIN: Final = "blueprint"
"""The origin of workflows whose source is code that this process may run. Clients cannot publish such."""

BY: Final = "system:dispatcher"
LOOK_SECONDS: Final = 1.0

Stamp = tuple[tuple[str, int, int], ...]
"""What a folder looks like from outside: name, time of change and size of each file."""


class Handlers:
    """Publishes the blueprints of a folder as workflows, and runs their handlers.

    A job runs the code that its version was published with, which is kept with the workflow: a change in the
    folder is a new version, for new jobs.
    """

    def __init__(
        self,
        folder: Path | None,
        time_limit_seconds: float,
        at_once: int,
        definitions: Definitions,
        files: Mapping[str, Any] | None = None,
    ) -> None:
        """`files` is where jobs have their files, as JSON can say it."""
        self._folder, self._definitions = folder, definitions
        self._host = HandlerHost(folder, time_limit_seconds, at_once=at_once, files=files)
        self._seen: Stamp = ()

    async def publish(self, publish: PublishWorkflow) -> None:
        """Publish what the folder holds; unchanged ones keep their version. Raises JournalError.

        A blueprint that cannot be loaded, or whose graph cannot run, is logged; the others are served.
        """
        if self._folder is None:
            return
        self._seen = _stamp(self._folder)
        try:
            sources, problems = await self._host.sources()
        except HandlerFailed as failed:
            log.error("no blueprint is served: %s", failed)
            return
        for problem in problems:
            log.error("a blueprint is not served: %s", problem)
        for source in sources:
            beside: dict[str, Json] = {
                **source.meta,
                "file": Path(source.file).name,
                "sha256": source.sha256,
            }
            graph: dict[str, Json] = {**source.graph, "meta": beside}
            try:
                published = await publish(
                    DEFAULT_TENANT, source.name, graph, BY, origin=ORIGIN, source=source.text
                )
            except DomainError as problem:
                log.error("blueprint %s is not served: %s", source.name, problem)
            else:
                log.info("blueprint %s is served as version %d", source.name, published.version)

    async def watch(self, publish: PublishWorkflow) -> None:
        """Look at the folder again and again, and publish it anew when a file has changed."""
        while self._folder is not None:
            await asyncio.sleep(LOOK_SECONDS)
            if _stamp(self._folder) == self._seen:
                continue
            log.info("the blueprints in %s have changed", self._folder)
            try:
                await self.publish(publish)
            except (JournalError, BrokerError, OSError) as problem:
                self._seen = ()  # look again
                log.warning("the changed blueprints are not published yet: %s", problem)
            await self._host.reload()

    async def run(self, job: Job, effect: RunHandler) -> Callable[[Job, Facts], object]:
        """What to decide on the job: the handler's action, or its failure. Raises JournalError."""
        name = job.spec.workflow or ""
        try:
            code = await self._code(job, effect)
            action = await self._host.run(name, effect.node, view_of(job, effect), code)
        except HandlerFailed as failed:
            return failing(effect, failed.error)
        return _acting(effect, action)

    async def stop(self) -> None:
        """End the processes of the handlers."""
        await self._host.stop()

    async def _code(self, job: Job, effect: RunHandler) -> Code:
        """The code that the job's version was published with. Raises HandlerFailed when there is none."""
        spec = job.spec
        published = None
        if spec.workflow is not None and spec.version is not None:
            workflow = await self._definitions.workflow(spec.tenant, spec.workflow)
            published = None if workflow is None else workflow.get(spec.version)
        if published is None or published.origin != ORIGIN or published.source is None:
            text = f"handler {effect.handler!r}: {spec.workflow} (version {spec.version}) is no blueprint's"
            raise HandlerFailed(TaskError("permanent", text, "no_handler"))
        beside = published.document.get("meta")
        assert isinstance(beside, dict), "this process published it"
        return Code(str(beside["sha256"]), str(beside["file"]), published.source)


def _stamp(folder: Path) -> Stamp:
    files = []
    for file in sorted(folder.glob("*.py")):
        try:
            state = file.stat()
        except OSError:  # it went away just now
            continue
        files.append((file.name, state.st_mtime_ns, state.st_size))
    return tuple(files)


def _acting(effect: RunHandler, action: Action) -> Callable[[Job, Facts], object]:
    def act(job: Job, facts: Facts) -> None:
        try:
            job.act(effect.activation, action, facts)
        except InvalidValue as problem:
            error = TaskError(
                "contract_violation", f"handler {effect.handler!r}: {problem}", "invalid_action"
            )
            failing(effect, error)(job, facts)

    return act


def failing(effect: RunHandler, error: TaskError) -> Callable[[Job, Facts], object]:
    """The decision that a handler has failed."""

    def act(job: Job, facts: Facts) -> None:
        job.handler_failed(effect.activation, error, facts, effect.attempt)

    return act
