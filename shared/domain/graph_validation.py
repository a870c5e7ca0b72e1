"""What makes a graph able to run: one entry, forks that find their joins, edges that can be taken."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from shared.domain.graph_nodes import (
    DEFAULT_PORT,
    FAILURE_PORT,
    End,
    Fork,
    Join,
    Loop,
    Node,
    Route,
    Scope,
    Start,
    State,
    Target,
    Wait,
)
from shared.domain.values import Json

DEEPEST_NESTING: Final = 20
_INNER_PORTS: Final = ("body", "catch", "finally")


class Shape(NamedTuple):
    """Nodes and edges before anything is known about them."""

    nodes: Mapping[str, Node]
    edges: Mapping[str, Mapping[str, tuple[Target, ...]]]

    def after(self, node: str, ports: Iterable[str] | None = None) -> Iterator[str]:
        for port, targets in self.edges.get(node, {}).items():
            if ports is None or port in ports:
                for target in targets:
                    yield target.node

    def region(self, node: str) -> set[str]:
        """The nodes inside a loop or scope: reached from its inner ports without passing it again."""
        return self.reached(self.after(node, _INNER_PORTS), without=node)

    def reached(self, begin: Iterable[str], without: str | None = None) -> set[str]:
        found: set[str] = set()
        todo = deque(begin)
        while todo:
            node = todo.popleft()
            if node != without and node not in found:
                found.add(node)
                todo.extend(self.after(node))
        return found

    def returns(self) -> set[tuple[str, str]]:
        """(node, owner) for the edges that lead from inside a loop or scope back to it."""
        return {
            (inside, name)
            for name, node in self.nodes.items()
            if isinstance(node, Loop | Scope)
            for inside in self.region(name) | ({name} & set(self.after(name, _INNER_PORTS)))
        }


def entry_of(shape: Shape, named: Json, problems: list[str]) -> str:
    """The node that a job begins at; "" with a problem when it cannot be told."""
    starts = [name for name, node in shape.nodes.items() if isinstance(node, Start)]
    if len(starts) > 1:
        problems.append(f"there are several start nodes: {', '.join(map(repr, starts))}")
        return ""
    if named is not None:
        if not isinstance(named, str) or named not in shape.nodes:
            problems.append(f"entry: there is no node {named!r}")
            return ""
        return named
    if starts:
        return starts[0]
    returns = shape.returns()
    reached = {to for node in shape.nodes for to in shape.after(node) if (node, to) not in returns}
    entries = [name for name in shape.nodes if name not in reached]
    if len(entries) != 1:
        what = f"the nodes {', '.join(map(repr, entries))} have" if entries else "no node has"
        problems.append(f"{what} no incoming edge; exactly one must, or entry must name one")
        return ""
    return entries[0]


def joins_of(shape: Shape, problems: list[str]) -> dict[str, str | None]:
    """The join that each fork's branches meet in, None when they never meet."""
    returns = shape.returns()
    joins: dict[str, str | None] = {}
    for name, node in shape.nodes.items():
        if not isinstance(node, Fork):
            continue
        if node.join is not None:
            if not isinstance(shape.nodes.get(node.join), Join):
                problems.append(f"node {name!r}: join names {node.join!r}, which is no join")
            joins[name] = node.join
            continue
        met = _meeting(shape, name, returns)
        if len(met) > 1:
            listed = ", ".join(repr(join) for join in sorted(met))
            problems.append(f"node {name!r}: its branches meet in several joins ({listed}); name one in join")
        joins[name] = min(met, default=None)
    return joins


def _meeting(shape: Shape, fork: str, returns: set[tuple[str, str]]) -> set[str]:
    met: set[str] = set()
    seen: set[tuple[str, int]] = set()
    todo = deque((target, 1) for target in shape.after(fork))
    while todo:
        name, depth = todo.popleft()
        if (name, depth) in seen or depth > DEEPEST_NESTING:
            continue
        seen.add((name, depth))
        node = shape.nodes[name]
        if isinstance(node, Join):
            depth -= 1
            if depth == 0:
                met.add(name)
                continue
        elif isinstance(node, Fork):
            if node.join is not None and node.join in shape.nodes:
                todo.append((node.join, depth + 1))
                continue
            depth += 1
        todo.extend((after, depth) for after in shape.after(name) if (name, after) not in returns)
    return met


def problems_of(shape: Shape, entry: str) -> list[str]:
    """What else is wrong, each a sentence that names the node."""
    problems: list[str] = []
    dynamic = any(isinstance(node, State) for node in shape.nodes.values())  # may go to any node
    forks = {n.join: name for name, n in shape.nodes.items() if isinstance(n, Fork) and n.join is not None}
    for name, node in shape.nodes.items():
        problems.extend(
            f"node {name!r}: {problem}" for problem in _node_problems(shape, node, forks, dynamic)
        )
    for name, ports in shape.edges.items():
        for target in (target for targets in ports.values() for target in targets):
            if target.into and not isinstance(shape.nodes[target.node], Loop):
                problems.append(f"node {name!r}: breaks {target.node!r}, which is no loop")
            if isinstance(shape.nodes[target.node], Start):
                problems.append(f"node {name!r}: leads back to the start")
    if entry and not dynamic:
        unreached = shape.nodes.keys() - shape.reached([entry])
        problems.extend(f"node {name!r}: cannot be reached" for name in shape.nodes if name in unreached)
    return problems


def _node_problems(shape: Shape, node: Node, forks: Mapping[str, str], dynamic: bool) -> Iterator[str]:
    ports = shape.edges.get(node.name, {})
    if not isinstance(node, Fork):
        for port, targets in ports.items():
            if len(targets) > 1:
                yield f"the port {port!r} has {len(targets)} edges; only a fork has several"
    elif not ports:
        yield "a fork needs at least one edge"
    if isinstance(node, End) and ports:
        yield "an end has no edges"
    if isinstance(node, Loop | Scope) and "body" not in ports:
        yield f"a {node.kind} needs an edge from its port 'body'"
    allowed = _ports_of(node)
    if allowed is not None:
        for port in ports.keys() - allowed:
            yield f"there is no port {port!r}; there are {', '.join(sorted(allowed))}"
    if isinstance(node, Join) and not dynamic:
        if node.name not in forks:
            yield "no fork leads to this join"
        elif isinstance(node.wait, int):
            count = len(list(shape.after(forks[node.name])))
            if node.wait > count:
                yield f"waits for {node.wait} branches, and its fork has {count}"


def _ports_of(node: Node) -> set[str] | None:
    """The ports that a node can be left by; None when any name is possible."""
    match node:
        case Route():
            return {port for _, port in node.cases} | {node.default, FAILURE_PORT}
        case Loop():
            return {"body", DEFAULT_PORT, FAILURE_PORT}
        case Scope():
            return {"body", "catch", "finally", DEFAULT_PORT, FAILURE_PORT}
        case Wait(what="approval", decisions=decisions) if decisions:
            return {*decisions, DEFAULT_PORT, "timeout", FAILURE_PORT}
        case Wait(what="signal"):
            return {DEFAULT_PORT, "timeout", FAILURE_PORT}
        case Wait(what="timer"):
            return {DEFAULT_PORT, FAILURE_PORT}
        case Wait() | Fork() | State():
            return None
    return None if node.kind in ("task", "subflow") else {DEFAULT_PORT, FAILURE_PORT}
