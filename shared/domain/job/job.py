"""The job aggregate: commands in, events out.

A command has three answers: it happened (events), it had happened (none), it cannot (a DomainError).
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

from eventsourcing.domain import Aggregate, CanMutateAggregate

from shared.domain.errors import IllegalTransition, NotThere
from shared.domain.graph_nodes import Target
from shared.domain.job import claims, effects, handlers, offers, waits
from shared.domain.job.actions import Action
from shared.domain.job.deadlines import expire, next_due
from shared.domain.job.events import (
    EventEmitted,
    JobAccepted,
    JobCancelled,
    JobEvent,
    JobPaused,
    JobResumed,
    ReportIgnored,
    TaskCancelled,
    TaskFailed,
    TaskProgressed,
    TaskSucceeded,
    made,
)
from shared.domain.job.reports import is_worth_recording, objection, repeats
from shared.domain.job.spec import Facts, JobSpec
from shared.domain.job.state import Child, JobState, Waiting
from shared.domain.job.walk import Walk
from shared.domain.values import ACCEPTED, Json, Status, TaskError, Verdict


class Job(JobState, Aggregate):
    """One job, from its acceptance to its one terminal event and the ignored reports behind it."""

    TOPIC: ClassVar[str] = "Job"
    Event = JobEvent
    Created = JobAccepted

    # -- what it is

    @property
    def status(self) -> Status:
        """Where the job stands; of several tasks and waits, the one that is farthest decides."""
        if self.ended is not None:
            return self.ended
        if self.paused:
            return Status.PAUSED
        words = {task.status for task in self.live_tasks.values()}
        if "running" in words:
            return Status.RUNNING
        if "claimed" in words:
            return Status.ASSIGNED
        if words & {"released", "queued"}:
            return Status.QUEUED
        kinds = {type(live) for live in self.activations.values()}
        if Child in kinds:
            return Status.WAITING_CHILDREN
        if Waiting in kinds:
            return Status.WAITING_SIGNAL
        return Status.RETRY_SCHEDULED if words else Status.PENDING

    @property
    def is_ended(self) -> bool:
        return self.ended is not None

    @property
    def next_due(self) -> int | None:
        """When `expire` has something to do, microseconds since the epoch; None for never."""
        return next_due(self)

    def outstanding(self) -> list[effects.Effect]:
        """What the world still owes the job; derived from the state, so that a crash loses nothing."""
        return effects.outstanding(self)

    # -- clients

    @classmethod
    def accept(cls, id: UUID, spec: JobSpec, facts: Facts) -> "Job":  # noqa: A002
        """A new job, gone on to where it waits for the world. Raises InvalidValue."""
        spec.check()
        fields = {**vars(spec), "timestamp": facts.now, "originator_topic": cls.TOPIC}
        if not spec.definition:
            fields["definition"] = facts.graph.hash
        accepted = made(JobAccepted, id, cls.INITIAL_VERSION, fields)
        job: Job = accepted.mutate(None)
        job.pending_events.append(accepted)
        walk = Walk(job, facts)
        walk.enter(facts.graph.entry, 0, 0, spec.input)
        walk.run()
        return job

    def cancel(self, facts: Facts, reason: str = "", by: str = "") -> None:
        """Ends the job; what comes later is ignored. Raises IllegalTransition when it ended otherwise."""
        if self.ended is Status.CANCELLED:
            return
        self._must_live("cancel")
        Walk(self, facts).cancel_tasks()
        self.trigger_event(JobCancelled, timestamp=facts.now, reason=reason, by=by)

    def pause(self, facts: Facts, by: str = "") -> None:
        """Releases nothing new until `resume`; what runs may end. Raises IllegalTransition at the end."""
        self._must_live("pause")
        if not self.paused:
            self.trigger_event(JobPaused, timestamp=facts.now, by=by)

    def resume(self, facts: Facts, by: str = "") -> None:
        """Goes on releasing; tasks with limits wait for the dispatcher. Raises IllegalTransition."""
        self._must_live("resume")
        if not self.paused:
            return
        self.trigger_event(JobResumed, timestamp=facts.now, by=by)
        walk = Walk(self, facts)
        for task in list(self.live_tasks.values()):
            if task.status == "queued" and not task.limits and facts.has_room(task.skill):
                offers.release(walk, task)

    def signal(self, name: str, payload: Json, facts: Facts, by: str = "") -> None:
        """A signal for the wait of that name; kept for it when the job is not there yet.

        An equal signal again is no event. Raises IllegalTransition at the end, NotThere when the graph has
        no such wait.
        """
        self._must_live("signal")
        waits.signal(self, name, payload, facts, by)

    def approve(self, decision: str, facts: Facts, by: str = "", name: str | None = None) -> None:
        """A decision for the approval of that name, or for the only one that is awaited.

        The same decision again is no event. Raises IllegalTransition when none is awaited, InvalidValue
        when the decision is not one of those that are possible or the name is needed.
        """
        self._must_live("approve")
        waits.approve(self, decision, facts, by, name)

    # -- the dispatcher

    def release(self, task: int, facts: Facts) -> None:
        """Releases a held task. Raises NotThere, or IllegalTransition while paused or when it is over."""
        held = self.tasks.get(task)
        if held is None:
            raise NotThere("task", task)
        if held.status in ("released", "claimed", "running", "succeeded", "failed"):
            return
        self._must_live("release")
        if held.status != "queued":
            raise IllegalTransition("release", held.status)
        if self.paused:
            raise IllegalTransition("release", "paused")
        offers.release(Walk(self, facts), held)

    def expire(self, facts: Facts) -> None:
        """Does what is due at `facts.now`: deadline, time-outs, lost leases, overdue wake-ups."""
        if self.ended is None:
            expire(self, facts)

    def break_off(self, error: TaskError, facts: Facts) -> None:
        """Ends with the error, whatever it is doing, because it cannot go on; no event when it has ended."""
        if self.ended is None:
            Walk(self, facts).end(error)

    def wake(self, name: str, facts: Facts) -> None:
        """A timer of `outstanding` fired. One that is over is no event; the broker's clock decides."""
        if self.ended is None:
            waits.wake(self, name, facts)

    def child_ended(
        self,
        activation: int,
        child: str,
        outcome: str,
        output: Json,
        error: Mapping[str, Json] | None,
        facts: Facts,
        final_state: str | None = None,
    ) -> None:
        """A child job ended with the final status `outcome`. Raises NotThere for a stranger."""
        if self.ended is None:
            waits.child_ended(self, activation, child, outcome, output, error, facts, final_state)

    def act(self, activation: int, action: Action, facts: Facts) -> None:
        """The handler of a state node decided. Raises NotThere."""
        if self.ended is None:
            handlers.act(self, activation, action, facts)

    def handler_failed(
        self, activation: int, error: TaskError, facts: Facts, attempt: int | None = None
    ) -> None:
        """The handler raised. With `attempt` (that of RunHandler) a repeated report is no event."""
        if self.ended is None:
            handlers.failed(self, activation, error, facts, attempt)

    # -- workers

    def claim(
        self,
        task: int,
        attempt: int,
        worker: str,
        lease: timedelta,
        facts: Facts,
        started_at: int | None = None,
        *,
        ahead: bool = False,
    ) -> Verdict:
        """The worker holds the attempt for `lease`; `started_at` tells that it runs already, `ahead` that it
        is claimed for a worker that did not ask for it yet.
        """
        refused = self._objection(task, attempt, worker, "claim", facts)
        if refused is not None:
            return refused
        claims.claim(self, self.tasks[task], worker, lease, facts, started_at, ahead=ahead)
        return ACCEPTED

    def take(self, task: int, worker: str, lease: timedelta, facts: Facts, *, ahead: bool = False) -> Verdict:
        """Releases a held task and gives it to the worker at once, so that it goes through no queue.

        The verdict is that of a claim: what is not held, or not to be released now, is stale.
        """
        return claims.take(self, task, worker, lease, facts, ahead=ahead)

    def renew(self, task: int, attempt: int, worker: str, lease: timedelta, facts: Facts) -> Verdict:
        """The worker goes on with what it claimed; without a claim this is one."""
        refused = self._objection(task, attempt, worker, "renew", facts)
        if refused is not None:
            return refused
        renewed = self.tasks[task]
        if renewed.worker is None:
            claims.claim(self, renewed, worker, lease, facts, facts.now_us)
        else:
            claims.renew(self, renewed, lease, facts)
        return ACCEPTED

    def give_back(self, task: int, attempt: int, worker: str, facts: Facts) -> Verdict:
        """What the worker claimed and did not begin is for anybody again, in the same attempt."""
        if claims.is_held(self, task, attempt):
            return ACCEPTED  # it was offered again
        refused = self._objection(task, attempt, worker, "return", facts)
        if refused is not None:
            return refused
        claims.give_back(self, self.tasks[task], facts)
        return ACCEPTED

    def progress(
        self, task: int, attempt: int, worker: str, progress: float, message: str | None, facts: Facts
    ) -> Verdict:
        """The worker tells how far it is; going back or saying nothing new is no event."""
        refused = self._objection(task, attempt, worker, "progress", facts)
        if refused is not None:
            return refused
        known = self.tasks[task]
        reached = max(known.progress, min(1.0, max(0.0, progress)))
        if reached > known.progress or (message is not None and message != known.message):
            self.trigger_event(
                TaskProgressed,
                timestamp=facts.now,
                task=task,
                attempt=attempt,
                worker=worker,
                progress=reached,
                message=known.message if message is None else message,
            )
        return ACCEPTED

    def emit(
        self,
        task: int,
        attempt: int,
        worker: str,
        name: str,
        payload: Json,
        facts: Facts,
        id: str = "",  # noqa: A002
    ) -> Verdict:
        """The worker tells of something. Where the task has a transition for it, the job goes there at once.

        The same `id` again is no event.
        """
        refused = self._objection(task, attempt, worker, "event", facts)
        if id and id in self.emitted:
            return refused or ACCEPTED
        if refused is not None:
            return refused
        walk = Walk(self, facts)
        by = f"worker:{worker}"
        walk.emit(EventEmitted, name=name, payload=payload, by=by, id=id, task=task, attempt=attempt)
        told = self.tasks[task]
        to = (told.event_transitions or {}).get(name)
        if to is not None:
            walk.emit(TaskCancelled, task=task, attempt=attempt)
            walk.arrive(Target(to), told.node, told.parent, told.branch, payload)
            walk.run()
        return ACCEPTED

    def succeed(
        self,
        task: int,
        attempt: int,
        worker: str,
        output: Json,
        facts: Facts,
        port: str = "success",
        started_at: int | None = None,
    ) -> Verdict:
        """The attempt gave `output`; the job goes on by `port`. The same report again is accepted."""
        if repeats(self, task, (attempt, worker, port, output)):
            return ACCEPTED
        refused = self._objection(task, attempt, worker, "result", facts)
        if refused is not None:
            return refused
        self.trigger_event(
            TaskSucceeded,
            timestamp=facts.now,
            task=task,
            attempt=attempt,
            worker=worker,
            output=output,
            port=port,
            started_at=started_at,
        )
        done = self.tasks[task]
        walk = Walk(self, facts)
        walk.leave(done.node, port, done.parent, done.branch, output, done.transitions)
        walk.run()
        return ACCEPTED

    def fail(
        self,
        task: int,
        attempt: int,
        worker: str,
        error: TaskError,
        facts: Facts,
        started_at: int | None = None,
    ) -> Verdict:
        """The attempt failed: it is tried again, or the job follows an edge, or it ends."""
        document = error.to_json()
        if repeats(self, task, (attempt, worker, None, document)):
            return ACCEPTED
        refused = self._objection(task, attempt, worker, "result", facts)
        if refused is not None:
            return refused
        self.trigger_event(
            TaskFailed,
            timestamp=facts.now,
            task=task,
            attempt=attempt,
            worker=worker,
            error=document,
            started_at=started_at,
        )
        walk = Walk(self, facts)
        offers.attempt_failed(walk, self.tasks[task], error, by=f"worker:{worker}")
        walk.run()
        return ACCEPTED

    def trigger_event(self, event_class: type[CanMutateAggregate[UUID]], **kwargs: Any) -> None:
        """Makes the event and applies it, as the library does, but for its checks.

        Is the topic registered, do id and version fit, a call for every frozen field: these are half of what
        a TaskReleased costs (10.5 µs, 5.1 without). `originator_id` and `timestamp` are given as ever.
        """
        self.record(event_class, kwargs)

    def record(self, event_class: type[CanMutateAggregate[UUID]], fields: dict[str, Any]) -> None:
        """`trigger_event` with the fields in a dict, `timestamp` too, which becomes the event's own."""
        event = made(event_class, self._id, self._version + 1, fields)
        event.apply(self)
        self._version += 1
        self._modified_on = event.timestamp
        self._pending_events.append(event)

    # -- private

    def _objection(self, task: int, attempt: int, worker: str, kind: str, facts: Facts) -> Verdict | None:
        reason = objection(self, task, attempt, worker)
        if reason is None:
            return None
        if is_worth_recording(self, (task, attempt, worker, reason, kind)):
            self.trigger_event(
                ReportIgnored,
                timestamp=facts.now,
                task=task,
                attempt=attempt,
                worker=worker,
                reason=reason,
                kind=kind,
            )
        return Verdict(accepted=False, reason=reason)

    def _must_live(self, command: str) -> None:
        if self.ended is not None:
            raise IllegalTransition(command, self.ended)
