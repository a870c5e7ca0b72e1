"""Handlers of blueprints: Python that decides where a job goes, run outside this process, in limited time."""

import logging
from collections.abc import Callable
from pathlib import Path

from shared.application.publish_workflow import PublishWorkflow
from shared.blueprints.actions import view_of
from shared.blueprints.host import HandlerFailed, HandlerHost
from shared.domain.errors import DomainError, InvalidValue
from shared.domain.job import Action, Facts, Job, RunHandler, TaskError
from shared.domain.values import Json

log = logging.getLogger("daybook.dispatcher.handlers")

TENANT = "default"
"""Blueprints of the server's folder belong to the tenant of its own credentials."""


class Handlers:
    """Publishes the blueprints of a folder as workflows, and runs their handlers."""

    def __init__(self, folder: Path | None, time_limit_seconds: float) -> None:
        self._host = HandlerHost(folder, time_limit_seconds) if folder else None

    async def publish(self, publish: PublishWorkflow) -> None:
        """Publish what the folder holds; unchanged ones keep their version. Raises JournalError.

        A blueprint that cannot be loaded, or whose graph cannot run, is logged; the others are served.
        """
        if self._host is None:
            return
        try:
            sources, problems = await self._host.sources()
        except HandlerFailed as failed:
            log.error("no blueprint is served: %s", failed)
            return
        for problem in problems:
            log.error("a blueprint is not served: %s", problem)
        for source in sources:
            graph: dict[str, Json] = {
                **source.graph,
                "meta": {"file": Path(source.file).name, "sha256": source.sha256},
            }
            try:
                published = await publish(TENANT, source.name, graph, "system:dispatcher")
            except DomainError as problem:
                log.error("blueprint %s is not served: %s", source.name, problem)
            else:
                log.info("blueprint %s is served as version %d", source.name, published.version)

    async def run(self, job: Job, effect: RunHandler) -> Callable[[Job, Facts], object]:
        """What to decide on the job: the handler's action, or its failure."""
        try:
            if self._host is None:
                raise HandlerFailed(
                    TaskError(
                        "permanent",
                        f"handler {effect.handler!r}: no blueprints are loaded (--blueprints DIR)",
                        "no_handler",
                    )
                )
            action = await self._host.run(job.spec.workflow or "", effect.node, view_of(job, effect))
        except HandlerFailed as failed:
            return _failing(effect, failed.error)
        return _acting(effect, action)

    async def stop(self) -> None:
        """End the processes of the handlers."""
        if self._host is not None:
            await self._host.stop()


def _acting(effect: RunHandler, action: Action) -> Callable[[Job, Facts], object]:
    def act(job: Job, facts: Facts) -> None:
        try:
            job.act(effect.activation, action, facts)
        except InvalidValue as problem:
            error = TaskError(
                "contract_violation", f"handler {effect.handler!r}: {problem}", "invalid_action"
            )
            job.handler_failed(effect.activation, error, facts, effect.attempt)

    return act


def _failing(effect: RunHandler, error: TaskError) -> Callable[[Job, Facts], object]:
    def act(job: Job, facts: Facts) -> None:
        job.handler_failed(effect.activation, error, facts, effect.attempt)

    return act
