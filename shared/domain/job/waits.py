"""The world answers a waiting job: signals, approvals, timers and child jobs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from shared.domain.errors import IllegalTransition, InvalidValue, NotThere
from shared.domain.graph_nodes import DEFAULT_PORT, SUCCESS_PORT
from shared.domain.job import offers
from shared.domain.job.effects import retry_timer, wait_timer
from shared.domain.job.spec import Facts
from shared.domain.job.state import Child, JobState, Waiting
from shared.domain.job.wait_events import (
    ApprovalReceived,
    ChildEnded,
    SignalReceived,
    WaitEnded,
)
from shared.domain.job.walk import Walk
from shared.domain.values import ERROR_KINDS, ErrorKind, Json, Status, TaskError

if TYPE_CHECKING:
    from shared.domain.job.job import Job


def signal(job: "Job", name: str, payload: Json, facts: Facts, by: str) -> None:
    """Wakes the wait of that name, or keeps the signal for it."""
    walk = Walk(job, facts)
    waiting = next((w for w in _awaited(job, "signal") if w.name == name), None)
    if waiting is not None:
        walk.emit(SignalReceived, name=name, payload=payload, by=by, activation=waiting.id)
        last = waiting.payload if payload is None else payload
        walk.leave(waiting.node, DEFAULT_PORT, waiting.parent, waiting.branch, last)
        walk.run()
    elif name not in facts.graph.signals():
        raise NotThere("signal", name)
    elif name not in job.received or job.received[name] != payload:
        walk.emit(SignalReceived, name=name, payload=payload, by=by)


def approve(job: "Job", decision: str, facts: Facts, by: str, name: str | None) -> None:
    """Wakes the approval of that name, or the only one."""
    awaited = [w for w in _awaited(job, "approval") if name in (None, w.name)]
    if not awaited:
        if decision in (job.approvals.values() if name is None else (job.approvals.get(name),)):
            return
        raise IllegalTransition("approve", job.status, "no approval is awaited")
    if name is None and len({w.name for w in awaited}) > 1:
        raise InvalidValue(f"say which approval: {', '.join(sorted(w.name for w in awaited))}")
    waiting = awaited[0]
    if waiting.decisions is not None and decision not in waiting.decisions:
        raise InvalidValue(f"{decision!r} is none of the decisions {', '.join(waiting.decisions)}")
    walk = Walk(job, facts)
    walk.emit(ApprovalReceived, activation=waiting.id, name=waiting.name, decision=decision, by=by)
    port = decision
    if waiting.transitions is None and facts.graph.follow(waiting.node, port) is None:
        port = DEFAULT_PORT if facts.graph.follow(waiting.node, DEFAULT_PORT) is not None else decision
    walk.leave(waiting.node, port, waiting.parent, waiting.branch, waiting.payload, waiting.transitions)
    walk.run()


def wake(job: "Job", name: str, facts: Facts) -> None:
    """A timer fired: the retry or the delay that it stands for goes on, unless that is over."""
    for task in job.live_tasks.values():
        if task.status == "retry_scheduled" and name == retry_timer(task.id, task.attempt):
            offers.offer_again(Walk(job, facts), task, task.attempt)
            return
    for waiting in _awaited(job, "timer"):
        if name == wait_timer(waiting.id):
            time_came(job, waiting, facts)
            return


def time_came(job: "Job", waiting: Waiting, facts: Facts) -> None:
    """A delay is over, or the patience of a wait."""
    walk = Walk(job, facts)
    port = DEFAULT_PORT if waiting.kind == "timer" else "timeout"
    walk.emit(WaitEnded, activation=waiting.id, port=port)
    known = (waiting.transitions is not None and port in waiting.transitions) or facts.graph.follow(
        waiting.node, port
    ) is not None
    if port == "timeout" and not known:
        error = TaskError("timeout", f"node {waiting.node!r}: nobody answered in time", "wait_timeout")
        walk.fail(waiting.node, waiting.parent, waiting.branch, error, waiting.transitions)
    else:
        walk.leave(waiting.node, port, waiting.parent, waiting.branch, waiting.payload, waiting.transitions)
    walk.run()


def child_ended(
    job: "Job",
    activation: int,
    child: str,
    outcome: str,
    output: Json,
    error: Mapping[str, Json] | None,
    facts: Facts,
    final_state: str | None = None,
) -> None:
    """The child's end wakes the parent, whatever it was."""
    if activation > job.last_activation:
        raise NotThere("child", child)
    walk = Walk(job, facts)
    live = job.activations.get(activation)
    if job.orphans.get(activation) == child:
        walk.emit(ChildEnded, activation=activation, child=child, outcome=outcome)
        return
    if not isinstance(live, Child) or live.child != child:
        return
    reason = None if outcome == Status.SUCCEEDED else _reason(child, outcome, error)
    walk.emit(
        ChildEnded,
        activation=activation,
        child=child,
        outcome=outcome,
        output=output,
        error=None if reason is None else reason.to_json(),
        final_state=final_state,
    )
    if reason is None:
        walk.leave(live.node, SUCCESS_PORT, live.parent, live.branch, output, live.transitions)
    else:
        walk.fail(live.node, live.parent, live.branch, reason, live.transitions)
    walk.run()


def _reason(child: str, outcome: str, error: Mapping[str, Json] | None) -> TaskError:
    given = error or {}
    kind = given.get("kind")
    if kind not in ERROR_KINDS:
        kind = "timeout" if outcome == Status.TIMED_OUT else "permanent"
    message, code = given.get("message"), given.get("code")
    return TaskError(
        cast("ErrorKind", kind),
        message if isinstance(message, str) else f"the job {child} ended as {outcome}",
        code if isinstance(code, str) else outcome,
        given.get("details"),
    )


def _awaited(job: JobState, kind: str) -> list[Waiting]:
    return [w for w in job.activations.values() if isinstance(w, Waiting) and w.kind == kind]
