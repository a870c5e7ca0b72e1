"""What happens when a token enters a node that is not a task."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, assert_never

from shared.domain.errors import ExpressionError
from shared.domain.graph_nodes import (
    DEFAULT_PORT,
    End,
    Fork,
    IdleNode,
    Inline,
    Join,
    Loop,
    Route,
    Scope,
    Start,
    State,
    Subflow,
    Target,
    Wait,
)
from shared.domain.job import constructs, offers
from shared.domain.job.node_events import (
    BranchesForked,
    ContextUpdated,
    LoopStarted,
    NodePassed,
    ScopeEntered,
)
from shared.domain.job.state import BODY, Repetition
from shared.domain.job.wait_events import (
    HandlerAwaited,
    SignalAwaited,
    WaitEnded,
)
from shared.domain.values import LONGEST_SECONDS, Json, TaskError, seconds_us

if TYPE_CHECKING:
    from shared.domain.job.walk import Walk


def enter(walk: "Walk", node: IdleNode, parent: int, branch: int, payload: Json) -> None:
    """The token of the frame enters `node` with `payload`."""
    try:
        _enter(walk, node, parent, branch, payload)
    except ExpressionError as problem:
        walk.fail(node.name, parent, branch, offers.expression_failed(problem))


def _enter(walk: "Walk", node: IdleNode, parent: int, branch: int, payload: Json) -> None:
    activation = walk.job.last_activation + 1
    match node:
        case Start():
            walk.emit(NodePassed, activation=activation, node=node.name)
            walk.leave(node.name, DEFAULT_PORT, parent, branch, payload)
        case End():
            _end(walk, node, parent, branch, payload)
        case Inline():
            values = walk.render(node.values, parent, branch, payload)
            walk.emit(ContextUpdated, activation=activation, node=node.name, patch=values)
            walk.leave(node.name, DEFAULT_PORT, parent, branch, values)
        case Route():
            port = _port(walk, node, parent, branch, payload)
            walk.emit(NodePassed, activation=activation, node=node.name, port=port)
            walk.leave(node.name, port, parent, branch, payload)
        case State():
            bound = walk.job.spec.max_transitions
            if bound is not None and walk.job.states_entered >= bound:
                why = f"node {node.name!r}: the job went through the maximum transitions ({bound})"
                walk.end(TaskError("permanent", why, "transition_bound"))
                return
            walk.emit(
                HandlerAwaited,
                activation=activation,
                node=node.name,
                handler=node.handler,
                payload=payload,
                parent=parent,
                branch=branch,
            )
        case Fork() | Loop() | Scope():
            if sum(1 for _ in walk.job.enclosing(parent, branch)) >= constructs.MAX_NESTING:
                why = f"node {node.name!r}: nested deeper than {constructs.MAX_NESTING}"
                walk.end(TaskError("permanent", why, "nesting_bound"))
            else:
                _open(walk, node, activation, parent, branch, payload)
        case Join():
            # No fork is open around it: a single path passes it as if it were not there.
            walk.emit(NodePassed, activation=activation, node=node.name)
            walk.leave(node.name, DEFAULT_PORT, parent, branch, payload)
        case Wait():
            _wait(walk, node, activation, parent, branch, payload)
        case Subflow():
            value = payload if node.input is None else walk.render(node.input, parent, branch, payload)
            walk.start_child(node.name, node.workflow, node.version, value, parent, branch)
        case _:
            assert_never(node)


def _end(walk: "Walk", node: End, parent: int, branch: int, payload: Json) -> None:
    output = payload if node.output is None else walk.render(node.output, parent, branch, payload)
    port = "success" if node.outcome == "succeeded" else "failure"
    activation = walk.job.last_activation + 1
    walk.emit(NodePassed, activation=activation, node=node.name, port=port, output=output)
    if node.outcome == "succeeded":
        walk.end_path(parent, branch, output)
    else:
        why = _message(output) or f"the job ended at {node.name!r}"
        walk.end(TaskError("permanent", why, "failed_end", output))


def _message(output: Json) -> str | None:
    """What a failing end was told: a message, or an error as failure edges hand it on."""
    told = output.get("error", output) if isinstance(output, Mapping) else None
    message = told.get("message") if isinstance(told, Mapping) else None
    return message if isinstance(message, str) else None


def _port(walk: "Walk", node: Route, parent: int, branch: int, payload: Json) -> str:
    variables = walk.variables(parent, branch, payload)
    for when, port in node.cases:
        if walk.facts.evaluate(when, variables) is True:
            return port
    return node.default


def _open(
    walk: "Walk", node: Fork | Loop | Scope, activation: int, parent: int, branch: int, payload: Json
) -> None:
    if isinstance(node, Fork):
        join = walk.graph.nodes[node.join] if node.join is not None else Join(node.name)
        assert isinstance(join, Join)
        branches = walk.graph.branches(node.name)
        walk.emit(
            BranchesForked,
            activation=activation,
            node=node.name,
            branches=branches,
            join=node.join,
            wait=join.wait,
            merge=join.merge,
            failures=join.failures,
            parent=parent,
            branch=branch,
        )
        for index, first in enumerate(branches):
            if activation not in walk.job.activations:
                break  # an edge straight to the join was answer enough
            walk.arrive(Target(first), node.name, activation, index, payload)
    elif isinstance(node, Scope):
        walk.emit(
            ScopeEntered,
            activation=activation,
            node=node.name,
            payload=payload,
            parent=parent,
            branch=branch,
        )
        body = walk.graph.follow(node.name, "body")
        assert body is not None, "validated when the graph was published"
        walk.enter(body.node, activation, BODY, payload)
    else:
        _loop(walk, node, activation, parent, branch, payload)


def _loop(walk: "Walk", node: Loop, activation: int, parent: int, branch: int, payload: Json) -> None:
    items: Json = None
    if node.over is not None:
        items = walk.render(node.over, parent, branch, payload)
        if not isinstance(items, list):
            why = f"node {node.name!r}: over gives no list"
            walk.fail(node.name, parent, branch, TaskError("invalid_input", why, "expression"))
            return
        if len(items) > node.max_iterations:
            why = f"node {node.name!r}: {len(items)} items are more than {node.max_iterations} iterations"
            walk.end(TaskError("permanent", why, "loop_bound"))
            return
    walk.emit(
        LoopStarted,
        activation=activation,
        node=node.name,
        items=items,
        width=node.width,
        max_iterations=node.max_iterations,
        failures=node.failures,
        parent=parent,
        branch=branch,
    )
    loop = walk.job.activations[activation]
    assert isinstance(loop, Repetition)
    constructs.go_on(walk, loop, payload)


def _wait(walk: "Walk", node: Wait, activation: int, parent: int, branch: int, payload: Json) -> None:
    patience = node.timeout
    if node.seconds is not None:
        delay = walk.render(node.seconds, parent, branch, payload)
        if isinstance(delay, bool) or not isinstance(delay, int | float) or not 0 <= delay <= LONGEST_SECONDS:
            why = f"node {node.name!r}: seconds must be a number of at least 0, not {delay!r}"
            walk.fail(node.name, parent, branch, TaskError("invalid_input", why, "expression"))
            return
        patience = delay
    walk.emit(
        SignalAwaited,
        activation=activation,
        node=node.name,
        name=node.signal,
        kind=node.what,
        decisions=list(node.decisions) or None,
        until=None if patience is None else walk.facts.now_us + seconds_us(patience),
        payload=payload,
        message=node.message,
        parent=parent,
        branch=branch,
    )
    if node.what == "signal" and node.signal in walk.job.signals:
        early = walk.job.signals[node.signal]
        walk.emit(WaitEnded, activation=activation, output=early)
        walk.leave(node.name, DEFAULT_PORT, parent, branch, payload if early is None else early)
