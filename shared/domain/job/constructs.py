"""Forks with their joins, loops and scopes: what becomes of them when one of their frames ends."""

from typing import TYPE_CHECKING, Final

from shared.domain.errors import ExpressionError
from shared.domain.graph_nodes import DEFAULT_PORT, Join, Loop, Target
from shared.domain.job import offers
from shared.domain.job.node_events import (
    BranchArrived,
    BranchEnded,
    ErrorCaught,
    FinallyEntered,
    IterationEnded,
    IterationStarted,
    JoinPassed,
    LoopEnded,
    ScopeLeft,
)
from shared.domain.job.state import BODY, CATCH, FINALLY, Activation, Group, Region, Repetition
from shared.domain.values import Json, TaskError

if TYPE_CHECKING:
    from shared.domain.job.walk import Walk

MAX_NESTING: Final = 100


def branch_arrived(walk: "Walk", group: Group, branch: int, source: str, payload: Json) -> None:
    """A branch reached the join of its fork."""
    name = group.branches[branch] if source == group.node else source
    walk.emit(BranchArrived, activation=group.id, branch=branch, node=name, output=payload)
    _settle(walk, group, payload)


def branch_ended(walk: "Walk", group: Group, branch: int, payload: Json) -> None:
    """A branch ended before the join, or there is none."""
    walk.emit(BranchEnded, activation=group.id, branch=branch)
    _settle(walk, group, payload)


def iteration_ended(walk: "Walk", loop: Repetition, index: int, payload: Json, breaks: bool = False) -> None:
    """The body of a loop came back; the next iteration begins, or the loop is over."""
    walk.emit(IterationEnded, activation=loop.id, index=index, output=payload)
    if breaks:
        walk.give_up(loop.id, None)
        end_loop(walk, loop)
    else:
        go_on(walk, loop, payload)


def go_on(walk: "Walk", loop: Repetition, last: Json) -> None:
    """Begins the iterations that may run now, or ends the loop when none is left."""
    if loop.items is None:
        _repeat_while(walk, loop, last)
        return
    while loop.next < len(loop.items) and len(loop.open) < loop.width:
        index = loop.next
        walk.emit(IterationStarted, activation=loop.id, index=index)
        walk.enter(_inner(walk, loop, "body").node, loop.id, index, loop.items[index])
    if not loop.open:
        end_loop(walk, loop)


def end_loop(walk: "Walk", loop: Repetition) -> None:
    """The loop is left with the list of what its iterations gave, in their order."""
    outputs = [loop.results[index] for index in sorted(loop.results)]
    walk.emit(LoopEnded, activation=loop.id, output=outputs)
    walk.leave(loop.node, DEFAULT_PORT, loop.parent, loop.branch, outputs)


def stage_returned(walk: "Walk", scope: Region, payload: Json) -> None:
    """The body, the catch or the finally of a scope came to its end."""
    if scope.stage != FINALLY:
        last = walk.graph.follow(scope.node, "finally")
        if last is None:
            _leave_scope(walk, scope, payload)
        else:
            walk.emit(FinallyEntered, activation=scope.id, output=payload)
            walk.enter(last.node, scope.id, FINALLY, payload)
    elif scope.error is None:
        _leave_scope(walk, scope, scope.output)
    else:
        error = error_of(scope.error)
        walk.emit(ScopeLeft, activation=scope.id, output={"error": scope.error})
        walk.fail(scope.node, scope.parent, scope.branch, error)


def catches(walk: "Walk", owner: Activation, frame: int, node: str, error: TaskError, inner: bool) -> bool:
    """Whether the construct around a failed node catches the error; if so, it has gone on.

    `inner` tells that more constructs stand between them, which are given up then.
    """
    if not _can_catch(walk, owner):
        return False
    if inner:
        walk.give_up(owner.id, frame)
    if isinstance(owner, Group):
        name = owner.branches[frame] if node == owner.node else node
        walk.emit(BranchArrived, activation=owner.id, branch=frame, node=name, error=error.to_json())
        _settle(walk, owner, {"error": error.to_json()})
    elif isinstance(owner, Repetition):
        walk.emit(IterationEnded, activation=owner.id, index=frame, error=error.to_json())
        go_on(walk, owner, {"error": error.to_json()})
    else:
        assert isinstance(owner, Region), "nothing else owns frames"
        _catch(walk, owner, error)
    return True


def node_after(owner: Activation) -> str | None:
    """The node by whose edges a construct is left."""
    return owner.join if isinstance(owner, Group) else owner.node


def error_of(document: dict[str, Json]) -> TaskError:
    """The error that an event holds."""
    return TaskError(**document)  # type: ignore[arg-type]  # written by TaskError.to_json


def _settle(walk: "Walk", group: Group, payload: Json) -> None:
    """Passes the join when enough branches arrived, or none is left that could."""
    if group.join is None:
        if not group.open:
            walk.emit(JoinPassed, activation=group.id, node=group.node, output=payload)
            walk.end_path(group.parent, group.branch, payload)
    elif _answers(group) >= _needed(group) or (not group.open and _answers(group)):
        _pass_join(walk, group, group.join)
    elif not group.open:
        walk.emit(JoinPassed, activation=group.id, node=group.join, output=payload)
        walk.end_path(group.parent, group.branch, payload)


def _pass_join(walk: "Walk", group: Group, join: str) -> None:
    output = _merged(group)
    if group.open:
        walk.give_up(group.id, None)
    walk.emit(JoinPassed, activation=group.id, node=join, output=output)
    if isinstance(walk.graph.nodes[join], Join):
        walk.leave(join, DEFAULT_PORT, group.parent, group.branch, output)
    else:
        # A handler's Parallel is aggregated by a node of any kind, which is entered with the answers.
        walk.arrive(Target(join), group.node, group.parent, group.branch, output)


def _can_catch(walk: "Walk", owner: Activation) -> bool:
    if isinstance(owner, Group):
        # A failed branch is an answer where failures are collected, and else no obstacle while enough others
        # are open.
        return owner.failures == "collect" or _answers(owner) + len(owner.open) > _needed(owner)
    if isinstance(owner, Repetition):
        return owner.failures == "collect"
    assert isinstance(owner, Region), "nothing else owns frames"
    ports = {BODY: ("catch", "finally"), CATCH: ("finally",), FINALLY: ()}[owner.stage]
    return any(walk.graph.follow(owner.node, port) for port in ports)


def _answers(group: Group) -> int:
    return len(group.arrived) + (len(group.failed) if group.failures == "collect" else 0)


def _needed(group: Group) -> int:
    if group.wait == "any":
        return 1
    return group.wait if isinstance(group.wait, int) else len(group.branches)


def _merged(group: Group) -> Json:
    answers = {**group.arrived, **(group.failed if group.failures == "collect" else {})}
    in_order = [answers[branch] for branch in sorted(answers)]
    if group.merge == "list":
        return [output for _, output in in_order]
    merged: dict[str, Json] = {}
    for node, output in in_order:
        if group.merge == "keys" and isinstance(output, dict):
            for key, value in output.items():
                if key not in merged or merged[key] != value:
                    merged[_free(merged, key)] = value
        else:
            merged[_free(merged, node)] = output
    return merged


def _free(taken: dict[str, Json], key: str) -> str:
    """The key, or key_2, key_3 … when it is taken."""
    number, free = 1, key
    while free in taken:
        number += 1
        free = f"{key}_{number}"
    return free


def _repeat_while(walk: "Walk", loop: Repetition, last: Json) -> None:
    node = walk.graph.nodes[loop.node]
    assert isinstance(node, Loop)
    assert node.condition is not None
    variables = walk.variables(loop.parent, loop.branch, last)
    variables["index"] = loop.next
    try:
        again = walk.facts.evaluate(node.condition, variables)
    except ExpressionError as problem:
        walk.emit(LoopEnded, activation=loop.id, output=[loop.results[i] for i in sorted(loop.results)])
        walk.fail(loop.node, loop.parent, loop.branch, offers.expression_failed(problem))
        return
    if again is not True:
        end_loop(walk, loop)
    elif loop.next >= loop.bound:
        why = f"node {loop.node!r}: the loop goes on after {loop.bound} iterations"
        walk.end(TaskError("permanent", why, "loop_bound"))
    else:
        index = loop.next
        walk.emit(IterationStarted, activation=loop.id, index=index)
        walk.enter(_inner(walk, loop, "body").node, loop.id, index, last)


def _catch(walk: "Walk", scope: Region, error: TaskError) -> None:
    """A body that failed goes to catch where there is one; else it, like a catch that failed, to finally."""
    handler = walk.graph.follow(scope.node, "catch") if scope.stage == BODY else None
    if handler is not None:
        walk.emit(ErrorCaught, activation=scope.id, error=error.to_json())
        caught: dict[str, Json] = {"error": error.to_json(), "input": scope.payload}
        walk.enter(handler.node, scope.id, CATCH, caught)
    else:
        walk.emit(FinallyEntered, activation=scope.id, error=error.to_json())
        walk.enter(_inner(walk, scope, "finally").node, scope.id, FINALLY, {"error": error.to_json()})


def _leave_scope(walk: "Walk", scope: Region, output: Json) -> None:
    walk.emit(ScopeLeft, activation=scope.id, output=output)
    walk.leave(scope.node, DEFAULT_PORT, scope.parent, scope.branch, output)


def _inner(walk: "Walk", owner: Activation, port: str) -> Target:
    target = walk.graph.follow(owner.node, port)
    assert target is not None, "validated when the graph was published"
    return target
