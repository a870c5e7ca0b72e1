"""Who has a fast worker asks for held tasks (`take`): each is released and claimed in one decision.

So a task costs one commit and one delivery less than by its queue. Wire: docs/wire.md.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import msgspec

from services.dispatcher.desk import Desk
from services.dispatcher.flow import Flow, Held
from services.dispatcher.releases import Releases
from services.dispatcher.reports import ahead_lease
from services.dispatcher.slots import Command, Done, Outcome, Unavailable
from shared.domain.job import Facts, Job, Verdict
from shared.domain.metadata import told_to_workers

MOST = 256
"""Tasks that are given for one question."""


class Take(msgspec.Struct):
    """So many held tasks of a skill are wanted for a worker, that may run for `shortest` seconds at least."""

    skill: str
    worker: str
    number: int = 1
    shortest: float = 0.0


decode_take = msgspec.json.Decoder(Take).decode

Given = Callable[[list[bytes]], None]


@dataclass(slots=True)
class _Asked:
    """A question that is being answered: `open` are the tasks whose decisions are not stored yet."""

    take: Take
    given: Given
    open: int
    tasks: list[bytes] = field(default_factory=list)

    def one_less(self) -> None:
        self.open -= 1
        if not self.open:
            self.given(self.tasks)


class Takes:
    """Answers those who ask."""

    def __init__(self, flow: Flow, desk: Desk, releases: Releases, lease: timedelta) -> None:
        """`lease` is how long a claim is held that was asked for by its worker itself."""
        self._flow, self._desk, self._releases = flow, desk, releases
        self._lease = ahead_lease(lease)

    def ask(self, take: Take, given: Given) -> None:
        """Give the next tasks of the skill to `given`, all at once when the journal has them.

        There are less when not so many are held, or may not go now.
        """
        number = max(1, min(take.number, MOST))
        asked = _Asked(take, given, number)
        for _ in range(number):
            self._next(asked)

    def _next(self, asked: _Asked) -> None:
        held = self._flow.take(asked.take.skill, time.monotonic()) if self._releases.ready else None
        if held is None:
            asked.one_less()
            return
        act, done = partial(self._act, asked.take, held), partial(self._done, asked, held)
        self._desk.post(held.key[0], Command(act, done, by=f"worker:{asked.take.worker}"))

    def _act(self, take: Take, held: Held, job: Job, facts: Facts) -> Verdict | None:
        """The verdict; None when the task is for its queue."""
        number = held.key[1]
        task = job.tasks[number]
        too_short = task.run_timeout is not None and task.run_timeout < take.shortest
        if too_short or task.placement is not None:  # a placed task is not for whoever asks first
            job.release(number, facts)
            return None
        return job.take(number, take.worker, self._lease, facts, ahead=True)

    def _done(self, asked: _Asked, held: Held, outcome: Outcome) -> None:
        verdict = outcome.answer if isinstance(outcome, Done) else None
        if isinstance(outcome, Done) and isinstance(verdict, Verdict) and verdict.accepted:
            asked.tasks.append(self._given(outcome.job, held.key[1]))
            asked.one_less()
            return
        if not isinstance(outcome, Done) or verdict is not None:
            self._releases.not_released(held, outcome)
        if isinstance(outcome, Unavailable):
            asked.one_less()
        else:
            asyncio.get_running_loop().call_soon(self._next, asked)  # the one behind it, then

    def _given(self, job: Job, number: int) -> bytes:
        task = job.tasks[number]
        return msgspec.json.encode(
            {
                "job": job.id,
                "lease_seconds": self._lease.total_seconds(),
                "task": {
                    "task": number,
                    "attempt": task.attempt,
                    "skill": task.skill,
                    "input": task.input,
                    "parent": task.parent,
                    "urgency": task.urgency,
                    "dispatch_by": task.dispatch_by,
                    "run_timeout": task.run_timeout,
                    "transitions": task.transitions,
                    "result_by": task.result_by,
                    "deadline": job.spec.deadline,
                    "metadata": told_to_workers(job.spec.metadata),
                    "trace": job.spec.trace,
                },
            }
        )
