"""What follows from a job's state: tasks held, wake-ups armed, children started, handlers run.

Everything is asked of `Job.outstanding()` after each change and after a restart, so nothing is lost with a
process; doing a thing twice is harmless (docs/decisions/0005).
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, assert_never
from uuid import UUID

from services.dispatcher.desk import Desk
from services.dispatcher.flow import Flow, Held, Limit
from services.dispatcher.handlers import failing
from services.dispatcher.releases import PAUSE_SECONDS, Releases
from services.dispatcher.slots import Broken, Command, Done, Outcome, Slot, Unavailable, look
from services.dispatcher.turns import Turns
from shared.application.definitions import UnknownWorkflow
from shared.application.ports import JournalError
from shared.broker.errors import BrokerError
from shared.broker.subjects import PLACED
from shared.domain.errors import DomainError
from shared.domain.job import CancelChild, Facts, HeldTask, Job, RunHandler, StartChild, StartTimer
from shared.domain.values import ENDINGS, Json, TaskError

log = logging.getLogger("daybook.dispatcher")

Arm = Callable[[UUID, str, int], Awaitable[None]]
"""Have `fired.<job>.<name>` come at a time (microseconds since the epoch)."""

StartChildJob = Callable[[Job, StartChild], Awaitable[Job]]
"""Accept the child if it is not there yet, and give it as it is now. Raises DomainError when it cannot be."""

Run = Callable[[Job, RunHandler], Awaitable[Callable[[Job, Facts], object]]]
"""Run a state's handler; what to decide with its answer or failure."""

Interrupt = Callable[[Job, int], None]
"""Tell whoever works on a task of the job to stop."""

BREAKS = 3
"""How often a handler's action that cannot be decided is tried, each time on the job as it is stored."""

_ENDS = frozenset({"TaskSucceeded", "TaskFailed", "TaskTimedOut", "TaskCancelled"})


class FollowUp:
    """The desk's watcher."""

    def __init__(self, flow: Flow, releases: Releases, arm: Arm, interrupt: Interrupt) -> None:
        self._flow = flow
        self._releases = releases
        self._arm = arm
        self._interrupt = interrupt
        self._start_child: StartChildJob
        self._run_handler: Run
        self._tasks: set[asyncio.Task[None]] = set()
        self._parents: dict[UUID, tuple[UUID, int]] = {}
        self._turns = Turns()
        self._desk: Desk

    def serve(self, desk: Desk, start_child: StartChildJob, run_handler: Run) -> None:
        """Whom to give what follows. Called once, before anything is followed up."""
        self._desk, self._start_child, self._run_handler = desk, start_child, run_handler

    def room(self) -> Callable[[str], bool]:
        """Room as one decision sees it."""
        return self._releases.room()

    def observe(self, id: UUID, events: Sequence[tuple[str, Mapping[str, Any]]]) -> None:  # noqa: A002
        """Keep flow control's books."""
        for topic, data in events:
            if topic == "TaskReleased":
                self._flow.released(_held(id, data), time.monotonic())
            elif topic in _ENDS or (topic == "TaskReturned" and _is_offered_again(data)):
                self._releases.ended((id, data["task"]))
            elif topic == "JobAccepted" and data.get("parent"):
                parent = data["parent"]
                self.adopt(id, UUID(parent["job"]), parent["activation"])
            elif topic in ENDINGS and id in self._parents:
                self._wake_parent(id, *self._parents.pop(id))

    def adopt(self, child: UUID, parent: UUID, activation: int) -> None:
        """An open child: its end is told to its parent. If that gave it up before, it is cancelled now."""
        self._parents[child] = (parent, activation)

        def done(outcome: Outcome) -> None:
            if isinstance(outcome, Done) and outcome.job.orphans.get(activation) == str(child):
                task = asyncio.ensure_future(self._cancel_child(parent, CancelChild(activation, child)))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            elif isinstance(outcome, Unavailable):
                asyncio.get_running_loop().call_later(PAUSE_SECONDS, self.adopt, child, parent, activation)

        self._desk.post(parent, look(done))

    def follow_up(self, slot: Slot, topics: Sequence[tuple[str, Mapping[str, Any]]] = ()) -> None:
        """Do what the job's state asks for, and tell the workers of tasks that were cancelled just now."""
        job = slot.job
        if job is None:
            return
        for topic, data in topics:
            if topic == "TaskCancelled":
                self._interrupt(job, data["task"])
        for effect in job.outstanding():
            if isinstance(effect, HeldTask):
                self._flow.hold(_from_effect(job, effect))
                self._releases.changed(effect.skill)
            elif isinstance(effect, StartTimer):
                self._begin(slot, f"timer {effect.name}", partial(self._arm, job.id, effect.name, effect.at))
            elif isinstance(effect, CancelChild):
                self._begin(slot, f"cancel {effect.child}", partial(self._cancel_child, job.id, effect))
            elif isinstance(effect, StartChild):
                self._begin(slot, f"child {effect.activation}", partial(self._ensure_child, job, effect))
            elif isinstance(effect, RunHandler):
                name = f"handler {effect.activation}.{effect.attempt}"
                self._begin(slot, name, partial(self._handle, job, effect))
            else:
                assert_never(effect)

    async def stop(self) -> None:
        """Give up what is under way; the next start finds it again in the state of the jobs."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, slot: Slot, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work` in the background, once for this slot; what fails for a while is tried again."""
        if name in slot.begun:
            return
        slot.begun.add(name)
        task = asyncio.get_running_loop().create_task(self._do(slot, name, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(self, slot: Slot, name: str, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except (BrokerError, JournalError, OSError) as problem:
                log.warning("%s of job %s is tried again: %s", name, slot.id, problem)
                await asyncio.sleep(PAUSE_SECONDS)
            except Exception:
                log.exception("%s of job %s cannot be done", name, slot.id)
                slot.begun.discard(name)  # the next change of the job asks for it again
                return
            else:
                return

    async def _ensure_child(self, job: Job, effect: StartChild) -> None:
        try:
            child = await self._start_child(job, effect)
        except (UnknownWorkflow, DomainError) as problem:
            error: dict[str, Json] = {"kind": "permanent", "code": "child", "message": str(problem)}
            self._tell_parent(job.id, effect.activation, str(effect.child), "failed", None, error, None)
            return
        if child.is_ended:
            self._tell_of(job.id, effect.activation, child)

    async def _cancel_child(self, parent: UUID, effect: CancelChild) -> None:
        def act(job: Job, facts: Facts) -> None:
            if not job.is_ended:
                job.cancel(facts, "nobody waits for it any more", f"job:{parent}")

        def done(outcome: Outcome) -> None:
            if isinstance(outcome, Unavailable):
                again = partial(self._desk.post, effect.child, Command(act, done))
                asyncio.get_running_loop().call_later(PAUSE_SECONDS, again)

        self._desk.post(effect.child, Command(act, done, by=f"job:{parent}"))

    def _wake_parent(self, child: UUID, parent: UUID, activation: int) -> None:
        """A child ended: look at how, and decide on the parent."""

        def done(outcome: Outcome) -> None:
            if isinstance(outcome, Done):
                self._tell_of(parent, activation, outcome.job)
            elif isinstance(outcome, Unavailable):
                asyncio.get_running_loop().call_later(
                    PAUSE_SECONDS, self._wake_parent, child, parent, activation
                )

        self._desk.post(child, look(done))

    def _tell_of(self, parent: UUID, activation: int, child: Job) -> None:
        self._tell_parent(
            parent, activation, str(child.id), child.status, child.output, child.error, child.state
        )

    def _tell_parent(
        self,
        parent: UUID,
        activation: int,
        child: str,
        ended: str,
        output: Json,
        error: dict[str, Json] | None,
        final_state: str | None,
    ) -> None:
        def act(job: Job, facts: Facts) -> None:
            job.child_ended(activation, child, ended, output, error, facts, final_state)

        def done(outcome: Outcome) -> None:
            if isinstance(outcome, Unavailable):
                asyncio.get_running_loop().call_later(
                    PAUSE_SECONDS, self._desk.post, parent, Command(act, done)
                )
            elif not isinstance(outcome, Done):
                log.error("job %s ended, its parent %s could not be told: %s", child, parent, outcome)

        self._desk.post(parent, Command(act, done))

    async def _handle(self, job: Job, effect: RunHandler) -> None:
        # Branches of one job may await handlers at once: the next sees what the one before it decided.
        async with self._turns.of(job.id):
            await self._handle_in_turn(job, effect)

    async def _handle_in_turn(self, job: Job, effect: RunHandler) -> None:
        try:
            await self._decide(job.id, await self._run_handler(job, effect))
        except (BrokerError, JournalError, OSError):
            raise
        except Exception as problem:
            # Else the job would wait for ever for a handler that did run.
            log.exception("what the handler of job %s at %r chose cannot be done", job.id, effect.node)
            await self._decide(job.id, _undecided(effect, problem))

    async def _decide(self, id: UUID, act: Callable[[Job, Facts], object]) -> None:  # noqa: A002
        """Decide and store. Raises ConnectionError when that can be tried later, Undecided when it cannot."""
        broken: Exception | None = None
        for _ in range(BREAKS):
            heard: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

            def done(outcome: Outcome, heard: "asyncio.Future[Outcome]" = heard) -> None:
                if not heard.done():
                    heard.set_result(outcome)

            self._desk.post(id, Command(act, done))
            outcome = await heard
            if not isinstance(outcome, Unavailable):
                return
            if not isinstance(outcome, Broken):
                raise ConnectionError(str(outcome.problem))
            broken = outcome.problem
        raise Undecided(f"{type(broken).__name__}: {broken}") from broken


class Undecided(Exception):
    """Deciding raised what nobody expects, every time."""


def _undecided(effect: RunHandler, problem: Exception) -> Callable[[Job, Facts], object]:
    said = str(problem) if isinstance(problem, Undecided) else f"{type(problem).__name__}: {problem}"
    text = f"node {effect.node!r}: what its handler chose cannot be done ({said})"
    return failing(effect, TaskError("permanent", text, "undecided"))


def _held(id: UUID, data: Mapping[str, Any]) -> Held:  # noqa: A002
    return Held(
        (id, data["task"]),
        PLACED if data.get("placement") else data["skill"],
        data.get("urgency", 500),
        data.get("tenant", ""),
        limits_of(data.get("limits") or ()),
    )


def _is_offered_again(returned: Mapping[str, Any]) -> bool:
    """Whether what was given back is released anew; else it is still in its queue."""
    return bool(returned.get("lapsed") or returned.get("offered"))


def _from_effect(job: Job, effect: HeldTask) -> Held:
    return Held(
        (job.id, effect.task), effect.skill, effect.urgency, job.spec.tenant, limits_of(effect.limits)
    )


def limits_of(limits: Sequence[Mapping[str, Json]]) -> tuple[Limit, ...]:
    """The limits as events and rows hold them."""
    return tuple(
        Limit(str(limit["key"]), int(limit["limit"]), _seconds(limit.get("per_seconds")))  # type: ignore[arg-type]
        for limit in limits
    )


def _seconds(value: Json) -> float | None:
    return float(value) if isinstance(value, int | float) else None
