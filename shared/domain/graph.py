"""A workflow's graph: what is published, parsed to frozen values, and found again by its content."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from shared.domain.errors import InvalidGraph
from shared.domain.graph_nodes import (
    DEFAULT_PORT,
    SUCCESS_PORT,
    Fork,
    Loop,
    Node,
    Route,
    Target,
    Wait,
    port_name,
)
from shared.domain.graph_reading import read_node
from shared.domain.graph_validation import Shape, entry_of, joins_of, problems_of
from shared.domain.template import Template, expressions
from shared.domain.values import Json

MAX_NODES: Final = 1000
MAX_EDGES: Final = 5000
MAX_TRANSITIONS: Final = 10_000
MAX_DEPTH: Final = 100
SKILL_NODE: Final = "task"


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph that can run. `hash` is the SHA-256 of its canonical JSON and names it for ever."""

    nodes: Mapping[str, Node]
    edges: Mapping[str, Mapping[str, tuple[Target, ...]]]
    entry: str
    max_transitions: int
    hash: str
    document: dict[str, Json]

    @staticmethod
    def parse(document: Json) -> "Graph":
        """The graph of a published document. Raises InvalidGraph with every problem found."""
        problems: list[str] = []
        graph = _read(document, problems)
        if graph is None:
            raise InvalidGraph(problems)
        return graph

    @staticmethod
    def of_skill(skill: str, **options: Json) -> "Graph":
        """The graph of a job that is one task; `options` are fields of the task node. Cached."""
        return _of_skill(skill, canonical(options) if options else "{}")

    def follow(self, node: str, port: str) -> Target | None:
        """Where `port` of `node` leads; None when the path ends there."""
        ports = self.edges.get(node)
        if ports is None:
            return None
        targets = ports.get(port)
        if targets is None and port == SUCCESS_PORT:
            targets = ports.get(DEFAULT_PORT)
        return targets[0] if targets else None

    def branches(self, fork: str) -> list[str]:
        """The nodes that the branches of a fork begin with, in the order of its edges."""
        return [target.node for targets in self.edges.get(fork, {}).values() for target in targets]

    def expressions(self) -> Iterator[tuple[str, str]]:
        """(node, expression) for all expressions, so that they can be checked before publishing."""
        for name, node in self.nodes.items():
            if isinstance(node, Route):
                for when, _ in node.cases:
                    yield name, when
            elif isinstance(node, Loop) and node.condition is not None:
                yield name, node.condition
            for field in ("input", "output", "values", "over", "seconds"):
                template = getattr(node, field, None)
                if isinstance(template, Template):
                    for expression in expressions(template.value):
                        yield name, expression

    def signals(self) -> frozenset[str]:
        """The names of the signals that the graph can wait for."""
        return frozenset(
            node.signal for node in self.nodes.values() if isinstance(node, Wait) and node.what == "signal"
        )


def validate(document: Json) -> list[str]:
    """The problems of a graph document, each a sentence that names the node; none when it can run."""
    problems: list[str] = []
    _read(document, problems)
    return problems


def canonical(document: Json) -> str:
    """The one text of a JSON value: sorted keys, no spaces."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def content_hash(document: Json) -> str:
    """SHA-256, in hex, of the canonical JSON."""
    return hashlib.sha256(canonical(document).encode()).hexdigest()


@lru_cache(maxsize=4096)
def _of_skill(skill: str, options: str) -> Graph:
    node = {"kind": "task", "skill": skill, **json.loads(options)}
    return Graph.parse({"nodes": {SKILL_NODE: node}, "edges": []})


def _read(document: Json, problems: list[str]) -> Graph | None:
    if not isinstance(document, dict):
        problems.append("a graph must be an object of nodes and edges")
        return None
    if _is_deeper(document, MAX_DEPTH):
        problems.append(f"the graph is an object nested deeper than {MAX_DEPTH}")
        return None
    try:
        content = content_hash(document)
    except ValueError as unspeakable:
        problems.append(f"the graph holds what JSON cannot: {unspeakable}")
        return None
    problems.extend(
        f"unknown field {unknown!r}"
        for unknown in document.keys() - {"nodes", "edges", "entry", "max_transitions", "meta"}
    )
    nodes = _read_nodes(document.get("nodes"), problems)
    bound = document.get("max_transitions", MAX_TRANSITIONS)
    if isinstance(bound, bool) or not isinstance(bound, int) or not 1 <= bound <= 1_000_000:
        problems.append("max_transitions must be a whole number from 1 to 1000000")
        bound = MAX_TRANSITIONS
    edges = _read_edges(document, nodes, problems)
    if problems:
        return None
    shape = Shape(nodes, edges)
    entry = entry_of(shape, document.get("entry"), problems)
    for fork, join in joins_of(shape, problems).items():
        nodes[fork] = Fork(fork, join)
    problems.extend(problems_of(shape, entry))
    if problems:
        return None
    return Graph(nodes, edges, entry, bound, content, document)


def _is_deeper(document: Json, depth: int) -> bool:
    level: list[Json] = [document]
    for _ in range(depth):
        inner: list[Json] = []
        for value in level:
            if isinstance(value, dict):
                inner.extend(value.values())
            elif isinstance(value, list):
                inner.extend(value)
        level = inner
        if not level:
            return False
    return any(isinstance(value, dict | list) for value in level)


def _read_nodes(documents: Json, problems: list[str]) -> dict[str, Node]:
    if not isinstance(documents, dict) or not documents:
        problems.append("nodes must be an object with at least one node")
        return {}
    if len(documents) > MAX_NODES:
        problems.append(f"there are {len(documents)} nodes; at most {MAX_NODES} are allowed")
        return {}
    nodes: dict[str, Node] = {}
    for name, document in documents.items():
        if not name or len(name) > 200:
            problems.append(f"node {name!r}: a name has 1 to 200 characters")
        node = read_node(name, document, problems)
        if node is not None:
            nodes[name] = node
    return nodes


def _read_edges(
    document: dict[str, Json], nodes: Mapping[str, Node], problems: list[str]
) -> dict[str, dict[str, tuple[Target, ...]]]:
    listed = document.get("edges", [])
    if not isinstance(listed, list):
        problems.append("edges must be a list")
        return {}
    listed = listed + _transitions(document.get("nodes"), problems)
    if len(listed) > MAX_EDGES:
        problems.append(f"there are {len(listed)} edges; at most {MAX_EDGES} are allowed")
        return {}
    known = document.get("nodes")
    edges: dict[str, dict[str, tuple[Target, ...]]] = {}
    for edge in listed:
        if not isinstance(edge, dict) or edge.keys() - {"from", "to", "port", "into", "meta"}:
            problems.append(f"edge {edge!r}: must be an object of from, port, to and into")
            continue
        source, target = edge.get("from"), edge.get("to")
        port, into = edge.get("port"), edge.get("into", "")
        if not isinstance(port, str | None) or into not in ("", "break"):
            problems.append(f"edge {source!r} to {target!r}: port is a text and into is break, or absent")
            continue
        strangers = [
            end
            for end in (source, target)
            if not isinstance(known, dict) or not isinstance(end, str) or end not in known
        ]
        problems.extend(f"edge {source!r} to {target!r}: there is no node {end!r}" for end in strangers)
        if strangers or not isinstance(source, str) or not isinstance(target, str):
            continue
        name = port_name(port)
        if name == SUCCESS_PORT and source in nodes and nodes[source].kind in ("task", "subflow"):
            name = DEFAULT_PORT
        ports = edges.setdefault(source, {})
        ports[name] = (*ports.get(name, ()), Target(target, "break" if into else ""))
    return edges


def _transitions(documents: Json, problems: list[str]) -> list[Json]:
    """The `transitions` of state nodes, as edges."""
    edges: list[Json] = []
    for name, document in documents.items() if isinstance(documents, dict) else ():
        transitions = document.get("transitions") if isinstance(document, dict) else None
        if isinstance(transitions, dict):
            edges.extend({"from": name, "port": port, "to": to} for port, to in transitions.items())
        elif transitions is not None:
            problems.append(f"node {name!r}: transitions must be an object of ports and nodes")
    return edges
