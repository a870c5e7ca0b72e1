"""Handlers of blueprints: Python that decides where a job goes, run outside this process, in limited time."""

from collections.abc import Callable
from pathlib import Path

from shared.domain.job import Facts, Job, RunHandler, TaskError


class Handlers:
    """Runs the handlers of the blueprints in a folder."""

    def __init__(self, folder: Path | None, time_limit_seconds: float) -> None:
        self._folder = folder
        self._time_limit_seconds = time_limit_seconds

    async def run(self, job: Job, effect: RunHandler) -> Callable[[Job, Facts], object]:
        """What to decide on the job with the handler's answer, or with its failure."""
        error = TaskError(
            "permanent",
            f"handler {effect.handler!r}: no blueprints are loaded (--blueprints DIR)",
            "no_handler",
        )

        def act(job: Job, facts: Facts) -> None:
            job.handler_failed(effect.activation, error, facts, effect.attempt)

        return act

    async def stop(self) -> None:
        """End what runs."""
