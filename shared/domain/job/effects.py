"""What the world still owes a job, derived from its state, so that a crash loses nothing.

Every effect may be carried out again: timers replace themselves by name, a child's id follows from its
parent's, a released task is no longer held, and a decision of a handler that has decided is no event.
"""

from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from shared.domain.job.state import Child, Handling, JobState, Waiting
from shared.domain.values import Json


@dataclass(frozen=True, slots=True)
class HeldTask:
    """A task waits to be released: call `Job.release` when its skill has room and its limits allow."""

    task: int
    skill: str
    urgency: int
    limits: tuple[dict[str, Json], ...]
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Call `Job.wake(name)` at `at`, microseconds since the epoch."""

    name: str
    at: int


@dataclass(frozen=True, slots=True)
class StartChild:
    """Accept the job `child`, unless it exists, and tell its end by `Job.child_ended`.

    `deadline` and `dispatch_timeout` are its own; where they are None it has its parent's.
    """

    activation: int
    child: UUID
    workflow: str
    version: int | None
    input: Json
    dispatch_timeout: float | None = None
    deadline: int | None = None


@dataclass(frozen=True, slots=True)
class CancelChild:
    """Nobody waits for the job `child` any more: cancel it."""

    activation: int
    child: UUID


@dataclass(frozen=True, slots=True)
class RunHandler:
    """Run the handler and tell its action by `Job.act`, or its failure by `Job.handler_failed`."""

    activation: int
    node: str
    handler: str
    payload: Json
    attempt: int = 1


Effect: TypeAlias = HeldTask | StartTimer | StartChild | CancelChild | RunHandler


def outstanding(job: JobState) -> list[Effect]:
    """Everything that is still to be done for the job; a paused one only keeps its timers."""
    effects: list[Effect] = []
    for task in job.live_tasks.values():
        if task.status == "queued" and not job.paused:
            effects.append(
                HeldTask(task.id, task.skill, task.urgency, tuple(task.limits or ()), task.attempt)
            )
        elif task.status == "retry_scheduled" and task.not_before is not None:
            effects.append(StartTimer(retry_timer(task.id, task.attempt), task.not_before))
    for live in job.activations.values():
        match live:
            case Waiting(kind="timer", until=int(until)):
                effects.append(StartTimer(wait_timer(live.id), until))
            case Handling() if not job.paused:
                effects.append(RunHandler(live.id, live.node, live.handler, live.payload, live.attempt))
            case Child() if not job.paused:
                effects.append(
                    StartChild(
                        live.id,
                        UUID(live.child),
                        live.workflow,
                        live.version,
                        live.input,
                        live.dispatch_timeout,
                        live.deadline,
                    )
                )
    effects.extend(CancelChild(activation, UUID(child)) for activation, child in job.orphans.items())
    return effects


def retry_timer(task: int, attempt: int) -> str:
    return f"retry-{task}-{attempt}"


def wait_timer(activation: int) -> str:
    return f"wait-{activation}"
