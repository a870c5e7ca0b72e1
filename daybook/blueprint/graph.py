"""The graph that the states of a blueprint make: it is read from the source of their handlers."""

from collections.abc import Mapping
from typing import Any

from daybook.blueprint.states import State
from daybook.blueprint.targets import targets_of
from daybook.errors import BlueprintError
from shared.application.blueprint_words import END

States = Mapping[str, State]


def graph_of(blueprint: str, states: States) -> dict[str, Any]:
    """The workflow's graph. Raises BlueprintError that names the state when something cannot be."""
    named, closed = targets_by_state(states)
    start = start_of(blueprint, states)
    for name, targets in named.items():
        for target in (*targets, states[name].on_error):
            if target is not None and target not in states:
                raise BlueprintError(blueprint, f"it leads to {target!r}, which is no state", name)
    for name, state in states.items():
        if state.outcome is None and any(targets_of(handler).is_empty for handler in state.handlers()):
            raise BlueprintError(blueprint, "its handler is empty, and it is no end state", name)
    if closed:
        _check_reached(blueprint, states, start, named)
    return _document(states, start, named)


def start_of(blueprint: str, states: States) -> str:
    """The state in which jobs begin. Raises BlueprintError unless there is exactly one."""
    starts = [name for name, state in states.items() if state.start]
    if len(starts) != 1:
        text = f"exactly one state is the start, not {len(starts)} ({', '.join(starts) or 'none'})"
        raise BlueprintError(blueprint, text)
    return starts[0]


def targets_by_state(states: States) -> tuple[dict[str, list[str]], bool]:
    """Where each state is seen to lead, and whether nothing else is possible."""
    named: dict[str, list[str]] = {}
    closed = True
    for name, state in states.items():
        seen = [targets_of(handler) for handler in state.handlers()]
        closed = closed and not any(targets.open for targets in seen)
        named[name] = list(dict.fromkeys(target for targets in seen for target in targets.states))
    return named, closed


def _check_reached(blueprint: str, states: States, start: str, named: Mapping[str, list[str]]) -> None:
    reached, todo = {start}, [start]
    while todo:
        name = todo.pop()
        for target in (*named[name], states[name].on_error):
            if target is not None and target not in reached:
                reached.add(target)
                todo.append(target)
    for name in states:
        if name not in reached:
            raise BlueprintError(blueprint, "no state leads to it", name)


def _document(states: States, start: str, named: Mapping[str, list[str]]) -> dict[str, Any]:
    nodes: dict[str, Any] = {}
    edges: list[dict[str, str]] = []
    for name, state in states.items():
        node: dict[str, Any] = {"kind": "state", "handler": name}
        if state.retry is not None:
            node["retry"] = dict(state.retry)
        nodes[name] = node
        # The ports only draw the graph: where a state leads is decided by its handler.
        edges += [{"from": name, "port": f"to {to}", "to": to} for to in named[name]]
        if state.on_error is not None:
            edges.append({"from": name, "port": "failure", "to": state.on_error})
        if state.outcome is not None:
            nodes[name + END] = {"kind": "end", "outcome": state.outcome}
            edges.append({"from": name, "port": "end", "to": name + END})
    return {"entry": start, "nodes": nodes, "edges": edges}
