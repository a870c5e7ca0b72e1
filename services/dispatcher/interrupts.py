"""Telling workers to stop: one word to the worker that holds a task, or to all of its skill."""

import msgspec

from shared.broker import subjects
from shared.broker.publisher import Publisher
from shared.domain.job import Job
from shared.domain.worker import worker_id


class Interrupts:
    """Best effort: a worker that misses the word hears it from the verdict on its next report."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def stop(self, job: Job, task: int) -> None:
        """Stop what runs for a task that was cancelled."""
        state = job.tasks[task]
        word = msgspec.json.encode({"cancel": {"job": str(job.id), "task": task, "attempt": state.attempt}})
        if state.worker is not None:
            subject = subjects.control(worker_id(state.worker))
        else:
            subject = subjects.skill_control(state.skill)
        self._publisher.publish(subject, word)
