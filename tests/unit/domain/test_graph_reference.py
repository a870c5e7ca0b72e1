"""docs/graphs.md says what the reader of graphs reads: every kind, every field, its default, its ports."""

import json
import re
from dataclasses import fields as members
from pathlib import Path
from typing import Any, get_args

import pytest

from shared.domain.graph import Graph
from shared.domain.graph_nodes import Node
from shared.domain.graph_reading import _READERS, Fields, read_node
from shared.domain.graph_validation import _ports_of
from shared.domain.retry import RetryPolicy
from shared.domain.values import ERROR_KINDS, Json

PAGE = (Path(__file__).parents[3] / "docs" / "graphs.md").read_text()
SECTIONS = dict(re.findall(r"^##+ ([^\n]+)\n(.*?)(?=^##+ |\Z)", PAGE, re.MULTILINE | re.DOTALL))
KINDS = [kind for kind in SECTIONS if re.search(rf"^### {kind}$", PAGE, re.MULTILINE)]
ROW = re.compile(r"^\| `([a-z_]+)` \| ([^|]+) \| [^|]+ \|$", re.MULTILINE)
NAME = "a node"
MINIMAL: dict[str, dict[str, Json]] = {
    "task": {"skill": "s"},
    "inline": {"set": {}},
    "route": {"cases": []},
    "loop": {"over": [1]},
    "wait": {"for": "approval"},
    "subflow": {"workflow": "w"},
}


def minimal(kind: str, **more: Json) -> dict[str, Json]:
    return {"kind": kind, **MINIMAL.get(kind, {}), **more}


def rows(section: str) -> list[tuple[str, str]]:
    return [(name, default.strip()) for name, default in ROW.findall(SECTIONS[section])]


def read(document: dict[str, Json]) -> Node | None:
    return read_node(NAME, document, [])


FIELDS = [(kind, name, default) for kind in KINDS for name, default in rows(kind)]


def test_every_kind_is_described_and_no_other() -> None:
    assert set(KINDS) == _READERS.keys() == {kind for kind in map(_kind, get_args(Node)) if kind}


@pytest.mark.parametrize("kind", KINDS)
def test_the_fields_of_a_kind_are_those_that_are_read(kind: str) -> None:
    fields = Fields(NAME, minimal(kind))
    _READERS[kind](fields)
    assert {name for name, _ in rows(kind)} == fields._read - {"kind", "meta"}


@pytest.mark.parametrize(("kind", "name", "default"), FIELDS)
def test_the_default_of_a_field_is_what_its_absence_means(kind: str, name: str, default: str) -> None:
    document = minimal(kind)
    node = read(document)
    assert node is not None
    if default == "required":
        del document[name]
        assert read(document) is None
    elif default == "absent":
        assert document.pop(name, None) is None or kind == "loop"
    elif default == "the node's name":
        assert read({**document, name: NAME}) == node
    else:
        assert default.startswith("`")
        assert read({**document, name: parsed(default)}) == node


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("wait", "end", "route")])
def test_the_ports_of_a_kind_are_those_that_are_allowed(kind: str) -> None:
    node = read(minimal(kind))
    assert node is not None
    (line,) = re.findall(r"^Ports: (.*)$", SECTIONS[kind], re.MULTILINE)
    known = _ports_of(node)
    assert (None if line.startswith("any") else set(re.findall("`(.*?)`", line))) == known


@pytest.mark.parametrize("what", ["approval", "signal", "timer"])
def test_the_ports_of_a_wait_are_those_that_are_allowed(what: str) -> None:
    more: dict[str, dict[str, Json]] = {"approval": {"decisions": ["yes"]}, "timer": {"seconds": 1}}
    node = read({"kind": "wait", "for": what, **more.get(what, {})})
    assert node is not None
    (line,) = re.findall(rf"^Ports of an? {what}: (.*?)(?:\. .*)?$", SECTIONS["wait"], re.MULTILINE)
    assert _ports_of(node) == set(re.findall("`(.*?)`", line)) | ({"yes"} if what == "approval" else set())


def test_the_fields_of_a_graph_and_of_an_edge_are_accepted() -> None:
    graph: dict[str, Any] = {"nodes": {"a": {"kind": "start"}, "b": {"kind": "end"}}}
    graph["edges"] = [{"from": "a", "to": "b"}]
    tables = SECTIONS["The graph"].split("An edge is")
    of_graph, of_edge = (ROW.findall(table) for table in tables)
    assert {name for name, _ in of_graph} == {"nodes", "edges", "entry", "max_transitions", "meta"}
    assert {name for name, _ in of_edge} == {"port", "into", "meta"}
    plain = Graph.parse(graph)
    for name, default in of_edge:
        graph["edges"][0][name] = parsed(default)
    for name, default in of_graph[2:]:
        graph[name] = parsed(default)
    full = Graph.parse(graph)
    assert (full.nodes, full.edges, full.entry) == (plain.nodes, plain.edges, plain.entry)
    assert full.max_transitions == plain.max_transitions


def test_the_members_of_a_retry_policy_and_their_defaults_are_those_of_the_page() -> None:
    listed = {name: parsed(default) for name, default in rows("Retry policies")}
    assert list(listed) == [field.name for field in members(RetryPolicy)]
    assert RetryPolicy.of(listed) == RetryPolicy()
    assert all(f"`{kind}`" in SECTIONS["Retry policies"] for kind in ERROR_KINDS)


def parsed(default: str) -> Any:
    """The JSON value in a cell; what is absent may be anything that is not read."""
    return "anything" if default == "absent" else json.loads(default.strip().strip("`"))


def _kind(node: Any) -> str:
    return str(next(field.default for field in members(node) if field.name == "kind"))
