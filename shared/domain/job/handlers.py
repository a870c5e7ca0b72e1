"""The handler of a state node answers: its action becomes events, and the job goes on."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, assert_never

from shared.domain.errors import InvalidValue, NotThere
from shared.domain.graph_nodes import State, Target
from shared.domain.job import actions, offers
from shared.domain.job.actions import Action, AwaitApproval, Dispatch, GoTo, Parallel, RunWorkflow, TaskSpec
from shared.domain.job.events import EventEmitted
from shared.domain.job.node_events import BranchesForked
from shared.domain.job.spec import Facts, allowed_skills
from shared.domain.job.state import Handling
from shared.domain.job.wait_events import (
    HandlerDecided,
    HandlerFailed,
    SignalAwaited,
)
from shared.domain.job.walk import ANY_PORT, Walk
from shared.domain.retry import RetryPolicy
from shared.domain.values import Json, TaskError, seconds_us

if TYPE_CHECKING:
    from shared.domain.job.job import Job


def act(job: "Job", activation: int, action: Action, facts: Facts) -> None:
    """Carries out the one action of a handler; a node that is over is no event.

    An action that means nothing is a failure of the handler, so that its job does not wait for ever.
    """
    handling = _handling(job, activation)
    if handling is None:
        return
    try:
        actions.check(action)
    except InvalidValue as problem:
        why = f"node {handling.node!r}: {problem}"
        error = TaskError("contract_violation", why, "invalid_action")
        failed(job, activation, error, facts, None)
        return
    walk = Walk(job, facts)
    walk.emit(HandlerDecided, activation=activation, action=actions.to_json(action))
    by = f"handler:{handling.node}"
    for told in action.events:
        walk.emit(EventEmitted, name=told.name, payload=told.payload, by=by)
    unknown = [node for node in _named(action) if node not in facts.graph.nodes]
    forbidden = _forbidden(job, action)
    if forbidden:
        why = f"node {handling.node!r}: the job's policy does not allow the skill {forbidden[0]!r}"
        error = TaskError("permanent", why, "policy_violation")
        quarantine = RetryPolicy.of(job.spec.retry).quarantines(error.kind)
        walk.fail(handling.node, handling.parent, handling.branch, error, quarantine=quarantine)
    elif unknown:
        why = f"node {handling.node!r}: the handler names {unknown[0]!r}, which is no node"
        error = TaskError("contract_violation", why, "unknown_node")
        walk.fail(handling.node, handling.parent, handling.branch, error)
    else:
        _carry_out(walk, handling, action)
    walk.run()


def failed(job: "Job", activation: int, error: TaskError, facts: Facts, attempt: int | None) -> None:
    """The handler raised: it runs again at once while the policy allows, else its node fails."""
    handling = _handling(job, activation)
    if handling is None or attempt not in (None, handling.attempt):
        return
    node = facts.graph.nodes.get(handling.node)
    policy = RetryPolicy.of(job.spec.retry, node.retry if isinstance(node, State) else None)
    again = policy.retries(error.kind, handling.attempt)
    walk = Walk(job, facts)
    walk.emit(
        HandlerFailed,
        activation=activation,
        error=error.to_json(),
        attempt=handling.attempt,
        retried=again,
    )
    if not again:
        exhausted = policy.quarantines(error.kind)
        walk.fail(handling.node, handling.parent, handling.branch, error, quarantine=exhausted)
        walk.run()


def _handling(job: "Job", activation: int) -> Handling | None:
    if not 0 < activation <= job.last_activation:
        raise NotThere("handler", activation)
    live = job.activations.get(activation)
    return live if isinstance(live, Handling) else None


def _named(action: Action) -> list[str]:
    match action:
        case GoTo(node=node):
            return [node]
        case Parallel(aggregate_into=node):
            return [node]
        case Dispatch(task=task, transitions=transitions):
            return [*transitions.values(), *(task.event_transitions or {}).values()]
        case AwaitApproval(transitions=transitions):
            return list(transitions.values())
        case RunWorkflow(transitions=transitions):
            return list(transitions.values())
        case _:
            assert_never(action)


def _carry_out(walk: Walk, handling: Handling, action: Action) -> None:
    node, parent, branch = handling.node, handling.parent, handling.branch
    match action:
        case GoTo():
            payload = handling.payload if action.payload is None else action.payload
            walk.arrive(Target(action.node), node, parent, branch, payload)
        case Dispatch():
            _offer(walk, node, action.task, parent, branch, dict(action.transitions))
        case Parallel():
            _fork(walk, handling, action)
        case AwaitApproval():
            _await(walk, handling, action)
        case RunWorkflow():
            walk.start_child(
                node,
                action.workflow,
                action.version,
                action.input,
                parent,
                branch,
                dict(action.transitions),
                action.dispatch_timeout,
                action.result_timeout,
            )
        case _:
            assert_never(action)


def _fork(walk: Walk, handling: Handling, action: Parallel) -> None:
    activation = walk.job.last_activation + 1
    names: list[str] = []
    for task in action.tasks:
        name, number = task.name or task.skill, 1
        while name in names:
            number += 1
            name = f"{task.name or task.skill}_{number}"
        names.append(name)
    walk.emit(
        BranchesForked,
        activation=activation,
        node=handling.node,
        branches=names,
        join=action.aggregate_into,
        failures=action.failures,
        parent=handling.parent,
        branch=handling.branch,
    )
    for index, task in enumerate(action.tasks):
        _offer(walk, handling.node, task, activation, index, {ANY_PORT: action.aggregate_into})


def _await(walk: Walk, handling: Handling, action: AwaitApproval) -> None:
    until = None if action.timeout is None else walk.facts.now_us + seconds_us(action.timeout)
    walk.emit(
        SignalAwaited,
        activation=walk.job.last_activation + 1,
        node=handling.node,
        name=action.name,
        kind="approval",
        decisions=[decision for decision in action.transitions if decision != "timeout"],
        until=until,
        payload=handling.payload,
        message=action.message,
        transitions=dict(action.transitions),
        parent=handling.parent,
        branch=handling.branch,
    )


def _offer(
    walk: Walk, node: str, task: TaskSpec, parent: int, branch: int, transitions: dict[str, str]
) -> None:
    spec = walk.job.spec
    retry: Mapping[str, Json] | None = task.retry
    offers.offer(
        walk,
        node,
        task.skill,
        task.input,
        parent,
        branch,
        urgency=spec.urgency if task.urgency is None else task.urgency,
        dispatch_timeout=task.dispatch_timeout or spec.dispatch_timeout,
        run_timeout=task.run_timeout or spec.run_timeout,
        retry=None if retry is None else dict(retry),
        transitions=transitions,
        placement=None if task.placement is None else dict(task.placement),
        event_transitions=None if task.event_transitions is None else dict(task.event_transitions),
        result_timeout=task.result_timeout,
        remember=task.remember,
    )


def _forbidden(job: "Job", action: Action) -> list[str]:
    """The skills that the action asks for and the job's policy does not allow."""
    allowed = allowed_skills(job.spec.policy or {})
    if allowed is None:
        return []
    tasks = action.tasks if isinstance(action, Parallel) else ()
    wanted = (action.task,) if isinstance(action, Dispatch) else tasks
    return [task.skill for task in wanted if task.skill not in allowed]
