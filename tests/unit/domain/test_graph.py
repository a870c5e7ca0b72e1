"""Graphs: what is read, what is refused and with which words, where a job begins, which joins forks find."""

from itertools import pairwise

import pytest

from shared.domain.errors import InvalidGraph
from shared.domain.graph import MAX_EDGES, MAX_NODES, Graph, canonical, content_hash, validate
from shared.domain.graph_nodes import Fork, Loop, Target
from shared.domain.template import Template, expressions
from shared.domain.values import Json
from tests.unit.domain.given import edge, graph, task

FORK: Json = {"kind": "fork"}
JOIN: Json = {"kind": "join"}


def problems(nodes: Json, *edges: Json, **fields: Json) -> list[str]:
    return validate({"nodes": nodes, "edges": list(edges), **fields})


def test_the_hash_is_that_of_the_content_whatever_the_order_of_its_keys() -> None:
    one = Graph.parse({"nodes": {"a": {"kind": "task", "skill": "s"}}, "edges": []})
    two = Graph.parse({"edges": [], "nodes": {"a": {"skill": "s", "kind": "task"}}})
    assert one.hash == two.hash == content_hash(one.document)
    assert Graph.parse({"nodes": {"a": {"kind": "task", "skill": "t"}}}).hash != one.hash
    assert canonical({"b": "ü", "a": 1}) == '{"a":1,"b":"ü"}'


def test_the_graph_of_a_skill_is_one_task_and_always_the_same() -> None:
    one = Graph.of_skill("resize")
    assert one is Graph.of_skill("resize")
    assert one.nodes["task"].kind == "task"
    assert one.follow("task", "success") is None
    slow = Graph.of_skill("resize", run_timeout=5)
    assert slow.hash != one.hash
    assert slow is Graph.of_skill("resize", run_timeout=5)


def test_a_valid_graph_has_no_problems() -> None:
    assert problems({"a": task()}) == []
    assert validate({"nodes": {"a": task()}, "meta": {"title": "x"}}) == []


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(InvalidGraph) as refused:
        graph({"a": {"kind": "task"}, "b": {"kind": "nap"}}, edge("a", "c"))
    assert len(refused.value.problems) == 3


@pytest.mark.parametrize("document", [None, [], "x", {}, {"nodes": {}}, {"nodes": []}, {"nodes": None}])
def test_what_is_no_graph_is_refused(document: Json) -> None:
    assert validate(document) != []


@pytest.mark.parametrize(
    ("node", "problem"),
    [
        (5, "must be an object"),
        ({}, "there is no kind None"),
        ({"kind": []}, "there is no kind"),
        ({"kind": "source"}, "not supported yet"),
        ({"kind": "sink"}, "not supported yet"),
        ({"kind": "task"}, "skill must be a text"),
        (task(""), "skill must be a text"),
        (task("x" * 201), "skill must be a text"),
        (task(timeout=3), "unknown field 'timeout'"),
        (task(run_timeout=0), "run_timeout must be a number above 0"),
        (task(dispatch_timeout=True), "dispatch_timeout must be a number above 0"),
        (task(urgency=2000), "urgency must be a whole number from 0 to 1000"),
        (task(claim="yes"), "claim must be true or false"),
        (task(retry=3), "retry must be an object"),
        (task(retry={"max_attempts": 0}), "max_attempts must be at least 1"),
        (task(concurrency=3), "concurrency must be an object of key, limit"),
        (task(rate={"key": "k", "limit": True, "per_seconds": 1}), "limit must be a whole number"),
        ({"kind": "end", "outcome": "maybe"}, "outcome must be succeeded or failed"),
        ({"kind": "inline"}, "set must be an object"),
        ({"kind": "inline", "set": {"cel": "x"}}, "set must be an object"),
        ({"kind": "route"}, "cases must be a list"),
        ({"kind": "route", "cases": [5]}, "a case must be an object"),
        ({"kind": "route", "cases": [{"when": "x", "to": "y"}]}, "a case must be an object"),
        ({"kind": "route", "cases": [{"when": 5}]}, "when and port of a case must be texts"),
        ({"kind": "fork", "join": 5}, "join must be a text"),
        ({"kind": "join", "wait": 0}, "wait must be all, any or a number"),
        ({"kind": "join", "wait": True}, "wait must be all, any or a number"),
        ({"kind": "join", "merge": "zip"}, "merge must be by_node, list or keys"),
        ({"kind": "join", "failures": "shrug"}, "failures must be fail or collect"),
        ({"kind": "loop"}, "a loop needs over or while, and not both"),
        ({"kind": "loop", "over": None}, "a loop needs over or while, and not both"),
        ({"kind": "loop", "over": [1], "while": "x"}, "a loop needs over or while, and not both"),
        ({"kind": "loop", "over": 5}, "over must be a list or an expression"),
        ({"kind": "loop", "while": "x", "width": 2}, "width must be 1"),
        ({"kind": "loop", "over": [], "width": 0}, "width must be a whole number"),
        ({"kind": "loop", "over": [], "max_iterations": "x"}, "max_iterations must be a whole number"),
        ({"kind": "wait"}, "for must be a text"),
        ({"kind": "wait", "for": "rain"}, "for must be approval, signal or timer"),
        ({"kind": "wait", "for": "timer"}, "a timer needs seconds"),
        ({"kind": "wait", "for": "timer", "seconds": -1}, "a timer needs seconds"),
        ({"kind": "wait", "for": "approval", "decisions": "yes"}, "decisions must be a list of texts"),
        ({"kind": "wait", "for": "approval", "decisions": [5]}, "decisions must be a list of texts"),
        ({"kind": "wait", "for": "signal", "decisions": ["x"]}, "only an approval has decisions"),
        ({"kind": "subflow"}, "workflow must be a text"),
        ({"kind": "subflow", "workflow": "w", "version": 0}, "version must be a whole number"),
        ({"kind": "scope"}, "a scope needs an edge from its port 'body'"),
        ({"kind": "fork"}, "a fork needs at least one edge"),
        ({"kind": "state", "transitions": 5}, "transitions must be an object"),
        ({"kind": "join"}, "no fork leads to this join"),
    ],
)
def test_a_problem_names_its_node(node: Json, problem: str) -> None:
    found = problems({"it": node})
    assert any(text.startswith("node 'it': ") and problem in text for text in found), found


@pytest.mark.parametrize(
    ("edges", "problem"),
    [
        ("x", "edges must be a list"),
        ([5], "must be an object of from, port, to and into"),
        ([{"from": "a", "to": "b", "via": "c"}], "must be an object of from, port, to and into"),
        ([edge("a", "z")], "there is no node 'z'"),
        ([{"from": 5, "to": "b"}], "there is no node 5"),
        ([{"from": "a", "to": ["b"]}], "there is no node ['b']"),
        ([{"from": "a", "to": "b", "port": 5}], "port is a text"),
        ([edge("a", "b", into="there")], "into is break"),
        ([edge("a", "b"), edge("a", "b", "success")], "the port 'default' has 2 edges"),
        ([edge("a", "b", into="break")], "breaks 'b', which is no loop"),
        ([edge("b", "a"), edge("a", "b")], "no node has no incoming edge"),
        ([], "the nodes 'a', 'b' have no incoming edge"),
    ],
)
def test_a_wrong_edge_is_refused(edges: Json, problem: str) -> None:
    found = validate({"nodes": {"a": task(), "b": task()}, "edges": edges})
    assert any(problem in text for text in found), found


@pytest.mark.parametrize(
    ("node", "port"),
    [
        ({"kind": "start"}, "odd"),
        ({"kind": "inline", "set": {}}, "odd"),
        ({"kind": "route", "cases": [{"when": "x", "port": "y"}]}, "z"),
        ({"kind": "wait", "for": "signal"}, "odd"),
        ({"kind": "wait", "for": "timer", "seconds": 1}, "timeout"),
        ({"kind": "wait", "for": "approval", "decisions": ["yes"]}, "no"),
    ],
)
def test_an_edge_from_a_port_that_is_never_taken_is_refused(node: Json, port: str) -> None:
    found = problems({"it": node, "b": task()}, edge("it", "b", port))
    assert any(f"node 'it': there is no port {port!r}" in text for text in found), found


def test_loops_and_scopes_have_ports_of_their_own() -> None:
    loop: Json = {"kind": "loop", "over": []}
    found = problems(
        {"l": loop, "s": {"kind": "scope"}, "b": task()}, edge("l", "b", "catch"), edge("s", "b", "odd")
    )
    assert any("node 'l': there is no port 'catch'" in text for text in found)
    assert any("node 's': there is no port 'odd'" in text for text in found)


def test_an_end_has_no_edges_and_a_start_is_never_reached() -> None:
    found = problems({"e": {"kind": "end"}, "s": {"kind": "start"}}, edge("e", "s"))
    assert "node 'e': an end has no edges" in found
    assert "node 'e': leads back to the start" in found


def test_there_is_one_start() -> None:
    found = problems({"a": {"kind": "start"}, "b": {"kind": "start"}})
    assert found[0] == "there are several start nodes: 'a', 'b'"


def test_the_entry_is_the_start_or_what_is_named_or_what_nothing_leads_to() -> None:
    nodes: dict[str, Json] = {"s": {"kind": "start"}, "a": task()}
    assert graph(nodes, edge("s", "a")).entry == "s"
    assert graph({"a": task(), "b": task()}, edge("a", "b"), edge("b", "a"), entry="b").entry == "b"
    assert graph({"a": task(), "b": task()}, edge("a", "b")).entry == "a"
    assert any("entry: there is no node 'x'" in p for p in problems({"a": task()}, entry="x"))
    assert any("entry: there is no node 5" in p for p in problems({"a": task()}, entry=5))


def test_an_edge_back_to_a_loop_does_not_hide_the_entry() -> None:
    loop: Json = {"kind": "loop", "over": []}
    assert graph({"l": loop, "b": task()}, edge("l", "b", "body"), edge("b", "l")).entry == "l"


def test_a_loop_can_be_its_own_body() -> None:
    loop: Json = {"kind": "loop", "over": [1, 2]}
    assert graph({"l": loop}, edge("l", "l", "body")).entry == "l"


def test_a_node_that_cannot_be_reached_is_refused_unless_a_handler_may_go_there() -> None:
    nodes: dict[str, Json] = {"a": task(), "b": task(), "c": task()}
    assert "node 'b': cannot be reached" in problems(nodes, edge("b", "c"), edge("c", "b"))
    nodes["a"] = {"kind": "state"}
    assert problems(nodes, edge("b", "c"), edge("c", "b")) == []


def test_sizes_are_bounded() -> None:
    many: dict[str, Json] = {f"n{index}": task() for index in range(MAX_NODES + 1)}
    assert problems(many)[0] == f"there are {MAX_NODES + 1} nodes; at most {MAX_NODES} are allowed"
    edges = [edge("a", "b", f"p{index}") for index in range(MAX_EDGES + 1)]
    found = problems({"a": task(), "b": task()}, *edges)
    assert found == [f"there are {MAX_EDGES + 1} edges; at most {MAX_EDGES} are allowed"]
    assert any("a name has 1 to 200 characters" in p for p in problems({"": task()}))
    assert any("max_transitions" in p for p in problems({"a": task()}, max_transitions=0))
    assert any("max_transitions" in p for p in problems({"a": task()}, max_transitions=True))
    assert problems({"a": task()}, colour="red") == ["unknown field 'colour'"]


def test_a_graph_is_what_json_can_say_and_not_too_deep() -> None:
    deep: Json = 1
    for _ in range(96):
        deep = [deep]
    assert problems({"a": task(input=deep)}) == []
    assert problems({"a": task(input=[[deep]])}) == ["the graph is an object nested deeper than 100"]
    assert "what JSON cannot" in problems({"a": task(input=float("nan"))})[0]
    assert "what JSON cannot" in problems({"a": task(input="\ud800")})[0]


def fork_of(one: Graph, name: str = "f") -> str | None:
    node = one.nodes[name]
    assert isinstance(node, Fork)
    return node.join


def test_a_fork_finds_the_join_that_its_branches_meet_in() -> None:
    nodes: dict[str, Json] = {"f": FORK, "a": task(), "b": task(), "j": JOIN}
    edges = [edge("f", "a"), edge("f", "b"), edge("a", "j"), edge("b", "j")]
    assert fork_of(graph(nodes, *edges)) == "j"
    assert fork_of(graph({"f": FORK, "a": task()}, edge("f", "a"))) is None


def test_a_fork_looks_past_the_forks_inside_it() -> None:
    nodes: dict[str, Json] = {"f": FORK, "g": FORK, "a": task(), "b": task(), "j": JOIN, "k": JOIN}
    edges = [edge("f", "g"), edge("f", "a"), edge("g", "b"), edge("b", "k"), edge("k", "j"), edge("a", "j")]
    one = graph(nodes, *edges)
    assert (fork_of(one), fork_of(one, "g")) == ("j", "k")
    nodes["g"] = {"kind": "fork", "join": "k"}
    one = graph(nodes, *edges)
    assert (fork_of(one), fork_of(one, "g")) == ("j", "k")


def test_a_fork_whose_branches_could_meet_in_two_joins_must_name_one() -> None:
    nodes: dict[str, Json] = {"f": FORK, "a": task(), "b": task(), "j": JOIN, "k": JOIN}
    edges = [edge("f", "a"), edge("f", "b"), edge("a", "j"), edge("b", "k")]
    assert any("name one in join" in p for p in problems(nodes, *edges))
    nodes["f"] = {"kind": "fork", "join": "a"}
    assert any("join names 'a', which is no join" in p for p in problems(nodes, *edges))
    nodes["f"] = {"kind": "fork", "join": "j"}
    assert problems(nodes, *edges) == ["node 'k': no fork leads to this join"]


def test_a_fork_inside_a_loop_does_not_look_behind_the_loop() -> None:
    nodes: dict[str, Json] = {
        "f": FORK,
        "l": {"kind": "loop", "over": []},
        "g": FORK,
        "a": task(),
        "b": task(),
        "j": JOIN,
    }
    edges = [
        edge("f", "l"),
        edge("f", "b"),
        edge("l", "g", "body"),
        edge("g", "a"),
        edge("a", "l"),
        edge("l", "j"),
        edge("b", "j"),
    ]
    one = graph(nodes, *edges)
    assert (fork_of(one), fork_of(one, "g")) == ("j", None)


def test_forks_that_never_end_are_not_followed_for_ever() -> None:
    assert fork_of(graph({"f": FORK, "a": task()}, edge("f", "a"), edge("a", "f"), entry="f")) is None


def test_a_join_cannot_wait_for_more_branches_than_there_are() -> None:
    nodes: dict[str, Json] = {"f": FORK, "a": task(), "j": {"kind": "join", "wait": 2}}
    found = problems(nodes, edge("f", "a"), edge("a", "j"))
    assert found == ["node 'j': waits for 2 branches, and its fork has 1"]


def test_edges_are_followed_by_port() -> None:
    one = graph({"a": task(), "b": task(), "c": task()}, edge("a", "b", "success"), edge("b", "c", "odd"))
    assert one.follow("a", "default") == one.follow("a", "success") == Target("b")
    assert one.follow("b", "odd") == Target("c")
    assert one.follow("b", "default") is None
    assert one.follow("c", "default") is None
    assert one.branches("c") == []


def test_a_graph_tells_its_expressions_and_signals() -> None:
    nodes: dict[str, Json] = {
        "set": {"kind": "inline", "set": {"x": {"cel": "one"}, "y": [{"cel": "two"}]}},
        "r": {"kind": "route", "cases": [{"when": "three", "port": "p"}]},
        "l": {"kind": "loop", "while": "four"},
        "a": task(input={"cel": "five"}),
        "w": {"kind": "wait", "for": "signal", "name": "go"},
        "ok": {"kind": "wait", "for": "approval"},
        "e": {"kind": "end", "output": {"cel": "six"}},
        "t": {"kind": "wait", "for": "timer", "seconds": {"cel": "seven"}},
        "o": {"kind": "loop", "over": {"cel": "eight"}},
    }
    order = ["set", "r", "l", "o", "w", "ok", "t", "e"]
    edges = [edge(one, two) for one, two in pairwise(order)]
    one = graph(nodes, *edges, edge("l", "a", "body"), edge("a", "l"), edge("o", "o", "body"), entry="set")
    assert {text for _, text in one.expressions()} == {
        "one", "two", "three", "four", "five", "six", "seven", "eight",
    }  # fmt: skip
    assert one.signals() == {"go"}
    loop = one.nodes["l"]
    assert isinstance(loop, Loop)
    assert (loop.condition, loop.width, loop.max_iterations) == ("four", 1, 1000)


def test_templates_know_whether_they_hold_expressions() -> None:
    still = Template.of({"a": [1, {"cel": 5}, {"cel": "x", "more": 1}]})
    assert not still.dynamic
    assert still.render(lambda *_: None, {}) is still.value
    moving = Template.of({"a": [1, {"cel": "x"}]})
    assert moving.dynamic
    assert moving.render(lambda text, variables: [text, variables["v"]], {"v": 2}) == {"a": [1, ["x", 2]]}
    assert list(expressions([{"cel": "a"}, {"b": {"cel": "c"}}])) == ["a", "c"]
