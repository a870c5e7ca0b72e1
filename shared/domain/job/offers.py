"""Tasks on their way to workers: offered, offered again, and what follows when an attempt fails."""

from typing import TYPE_CHECKING

from shared.domain.errors import ExpressionError
from shared.domain.graph_nodes import Task as TaskNode
from shared.domain.graph_reading import limits_of
from shared.domain.job.events import JobCancelled, JobEvent, TaskQueued, TaskReleased, TaskRetryScheduled
from shared.domain.job.state import Group, Task
from shared.domain.metadata import told_to_workers
from shared.domain.retry import RetryPolicy
from shared.domain.values import Json, TaskError, seconds_us, span_us

if TYPE_CHECKING:
    from shared.domain.job.walk import Walk


def enter(walk: "Walk", node: TaskNode, parent: int, branch: int, payload: Json) -> None:
    """A task node was entered: its task is released, or held."""
    try:
        value = payload if node.input is None else walk.render(node.input, parent, branch, payload)
    except ExpressionError as error:
        walk.fail(node.name, parent, branch, expression_failed(error))
        return
    spec = walk.job.spec
    offer(
        walk,
        node.name,
        node.skill,
        value,
        parent,
        branch,
        urgency=spec.urgency if node.urgency is None else node.urgency,
        dispatch_timeout=node.dispatch_timeout or spec.dispatch_timeout,
        run_timeout=node.run_timeout or spec.run_timeout,
        retry=node.retry,
        claim=node.claim,
        limits=node.limits,
        placement=node.placement,
    )


def offer(
    walk: "Walk",
    node: str,
    skill: str,
    value: Json,
    parent: int,
    branch: int,
    *,
    urgency: int,
    dispatch_timeout: float | None,
    run_timeout: float | None,
    retry: dict[str, Json] | None,
    claim: bool = False,
    limits: tuple[dict[str, Json], ...] = (),
    transitions: dict[str, str] | None = None,
    placement: dict[str, Json] | None = None,
    event_transitions: dict[str, str] | None = None,
    result_timeout: float | None = None,
    remember: bool = False,
) -> None:
    """A new task is released; or held, when the job is paused, a limit counts it or there is no room."""
    job = walk.job
    spec = job.spec
    if spec.concurrency or spec.rate:
        limits = (*limits, *limits_of(spec.concurrency, spec.rate))
    held = job.paused or limits or _lacks_room(walk, skill, placement)
    walk.emit(
        TaskQueued if held else TaskReleased,
        task=len(job.tasks) + 1,
        skill=skill,
        node=node,
        input=value,
        activation=job.last_activation + 1,
        parent=parent,
        branch=branch,
        claim=claim,
        urgency=urgency,
        dispatch_by=_from_now(walk, dispatch_timeout),
        dispatch_timeout=dispatch_timeout,
        run_timeout=run_timeout,
        retry=retry,
        limits=list(limits) or None,
        transitions=transitions,
        workflow=spec.workflow,
        tenant=spec.tenant,
        trace=spec.trace,
        placement=placement,
        event_transitions=event_transitions,
        result_by=_from_now(walk, result_timeout),
        remember=remember,
        deadline=spec.deadline,
        metadata=told_to_workers(spec.metadata),
    )


def offer_again(walk: "Walk", task: Task, attempt: int) -> None:
    """The next attempt of a task is released, or held."""
    _offer(walk, task, attempt, _from_now(walk, task.dispatch_timeout))


def offer_still(walk: "Walk", task: Task) -> None:
    """The same attempt is released, or held, once more; the time that it must be taken by stays."""
    _offer(walk, task, task.attempt, task.dispatch_by)


def release(walk: "Walk", task: Task, *, taken: bool = False) -> None:
    """A task that was held is released; the time that it must be taken by stays."""
    _hand_out(walk, task, TaskReleased, task.attempt, task.dispatch_by, taken=taken)


def attempt_failed(walk: "Walk", task: Task, error: TaskError, by: str = "") -> None:
    """What follows of a failed or timed-out attempt: another one, an edge, or the end."""
    policy = RetryPolicy.of(walk.job.spec.retry, task.retry)
    if error.kind in policy.quarantine and not _is_answered(walk, task, error):
        walk.end(error, quarantine=True)
    elif error.kind == "cancelled":
        _stopped(walk, task, error, by)
    elif policy.retries(error.kind, task.attempt):
        following = task.attempt + 1
        wait = span_us(policy.wait_before(following, walk.facts.chance))
        if wait:
            not_before = walk.facts.now_us + wait
            walk.emit(TaskRetryScheduled, task=task.id, attempt=following, not_before=not_before)
        else:
            offer_again(walk, task, following)
    else:
        exhausted = policy.quarantines(error.kind)
        walk.fail(task.node, task.parent, task.branch, error, task.transitions, exhausted)


def expression_failed(error: ExpressionError) -> TaskError:
    """The error of a node whose expression cannot be evaluated."""
    return TaskError("invalid_input", str(error), "expression")


def _offer(walk: "Walk", task: Task, attempt: int, dispatch_by: int | None) -> None:
    held = walk.job.paused or task.limits or _lacks_room(walk, task.skill, task.placement)
    _hand_out(walk, task, TaskQueued if held else TaskReleased, attempt, dispatch_by)


def _hand_out(
    walk: "Walk", task: Task, event: type[JobEvent], attempt: int, dispatch_by: int | None, **more: bool
) -> None:
    spec = walk.job.spec
    walk.emit(
        event,
        task=task.id,
        skill=task.skill,
        attempt=attempt,
        node=task.node,
        input=task.input,
        activation=task.activation,
        parent=task.parent,
        branch=task.branch,
        claim=task.claim,
        urgency=task.urgency,
        dispatch_by=dispatch_by,
        dispatch_timeout=task.dispatch_timeout,
        run_timeout=task.run_timeout,
        retry=task.retry,
        limits=task.limits,
        transitions=task.transitions,
        workflow=spec.workflow,
        tenant=spec.tenant,
        trace=spec.trace,
        placement=task.placement,
        event_transitions=task.event_transitions,
        result_by=task.result_by,
        remember=task.remember,
        deadline=spec.deadline,
        metadata=told_to_workers(spec.metadata),
        **more,
    )


def _stopped(walk: "Walk", task: Task, error: TaskError, by: str) -> None:
    """The worker says that the task was cancelled: by its edge, or by the end of the job."""
    stopped = TaskError(error.kind, error.message, error.code, error.details, error.port or "cancelled")
    if _is_collected(walk, task):
        walk.fail(task.node, task.parent, task.branch, stopped, {})
        return
    chosen = task.transitions
    if chosen is not None:  # a handler's word for failures is not one for this
        chosen = {port: to for port, to in chosen.items() if port == stopped.port}
    target = walk.failure_target(task.node, stopped, chosen)
    if target is not None:
        walk.arrive(target, task.node, task.parent, task.branch, {"error": error.to_json()})
    else:
        walk.cancel_tasks()
        walk.emit(JobCancelled, reason=error.message, by=by)


def _from_now(walk: "Walk", seconds: float | None) -> int | None:
    return None if seconds is None else walk.facts.now_us + seconds_us(seconds)


def _lacks_room(walk: "Walk", skill: str, placement: dict[str, Json] | None) -> bool:
    """A placed task waits where it is matched, so it takes no place of those that any worker may take."""
    return placement is None and not walk.facts.has_room(skill)


def _is_answered(walk: "Walk", task: Task, error: TaskError) -> bool:
    """Whether the handler that asked for the task said what follows its failure."""
    if _is_collected(walk, task):
        return True
    return task.transitions is not None and (
        walk.failure_target(task.node, error, task.transitions) is not None
    )


def _is_collected(walk: "Walk", task: Task) -> bool:
    owner = walk.job.activations.get(task.parent)
    return isinstance(owner, Group) and owner.failures == "collect"
