"""Random graphs made of blocks, so that every construct meets every other."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from shared.domain.graph import Graph
from shared.domain.values import Json

SIGNALS = ("go", "stop")
DECISIONS = ("yes", "no")


@dataclass(frozen=True)
class Block:
    """A piece of a graph: a kind, what is inside, and a number that chooses its variant."""

    kind: str
    inside: tuple["Block", ...] = ()
    variant: int = 0


@dataclass
class Drawing:
    """Nodes and edges as they are drawn; `ends` are the loose (node, port) of the block drawn last."""

    nodes: dict[str, Json] = field(default_factory=dict)
    edges: list[Json] = field(default_factory=list)

    def add(self, kind: str, **fields: Any) -> str:
        name = f"{kind}{len(self.nodes)}"
        self.nodes[name] = {"kind": kind, **fields}
        return name

    def connect(self, ends: list[tuple[str, str]], to: str) -> None:
        self.edges += [{"from": node, "port": port, "to": to} for node, port in ends]

    def draw(self, block: Block) -> tuple[str, list[tuple[str, str]]]:
        """Draws a block: its first node and its loose ends."""
        match block.kind:
            case "chain":
                return self._chain(block.inside)
            case "fork":
                return self._fork(block)
            case "loop":
                return self._loop(block)
            case "scope":
                return self._scope(block)
            case "route":
                name = self.add("route", cases=[{"when": "input.yes", "port": "a"}])
                ends: list[tuple[str, str]] = []
                for port, inner in zip(("a", "default"), block.inside, strict=False):
                    first, loose = self.draw(inner)
                    self.connect([(name, port)], first)
                    ends += loose
                return name, ends
            case _:
                return self._leaf(block)

    def _leaf(self, block: Block) -> tuple[str, list[tuple[str, str]]]:
        match block.kind:
            case "inline":
                name = self.add("inline", set={f"k{block.variant}": {"cel": "last"}})
            case "approval":
                name = self.add("wait", **{"for": "approval", "timeout": 40, "decisions": list(DECISIONS)})
                return name, [(name, decision) for decision in DECISIONS]
            case "signal":
                name = self.add(
                    "wait", **{"for": "signal", "name": SIGNALS[block.variant % 2], "timeout": 40}
                )
            case "timer":
                name = self.add("wait", **{"for": "timer", "seconds": 5 + block.variant})
            case "subflow":
                name = self.add("subflow", workflow="other")
            case "state":
                name = self.add("state", handler="think", retry={"max_attempts": 2})
            case _:
                held: dict[str, Json] = {"key": "k", "limit": 1}
                extra: dict[str, Json] = {"concurrency": held} if block.variant == 0 else {}
                name = self.add("task", skill=f"s{block.variant}", **extra)
        return name, [(name, "default")]

    def _chain(self, inside: tuple[Block, ...]) -> tuple[str, list[tuple[str, str]]]:
        first, ends = self.draw(inside[0])
        for inner in inside[1:]:
            following, loose = self.draw(inner)
            self.connect(ends, following)
            ends = loose
        return first, ends

    def _fork(self, block: Block) -> tuple[str, list[tuple[str, str]]]:
        fork = self.add("fork")
        waits: list[Json] = ["all", "any", 1, len(block.inside)]
        join = self.add(
            "join",
            wait=waits[block.variant % 4],
            merge=("by_node", "list", "keys")[block.variant % 3],
            failures=("fail", "collect")[block.variant % 2],
        )
        self.nodes[fork] = {"kind": "fork", "join": join}
        for inner in block.inside:
            first, loose = self.draw(inner)
            self.connect([(fork, "default")], first)
            self.connect(loose, join)
        return fork, [(join, "default")]

    def _loop(self, block: Block) -> tuple[str, list[tuple[str, str]]]:
        over: list[Json] = [1, 2, 3]
        failures = ("fail", "collect")[block.variant % 2]
        if block.variant % 5 == 4:
            loop = self.add("loop", **{"while": "index < 2", "max_iterations": 1 + block.variant % 3})
        else:
            loop = self.add(
                "loop", over=over[: 3 - block.variant % 4], width=1 + block.variant % 2, failures=failures
            )
        first, loose = self.draw(block.inside[0])
        self.connect([(loop, "body")], first)
        self.connect(loose, loop)
        return loop, [(loop, "default")]

    def _scope(self, block: Block) -> tuple[str, list[tuple[str, str]]]:
        scope = self.add("scope")
        for port, inner in zip(("body", "catch", "finally"), block.inside, strict=False):
            first, loose = self.draw(inner)
            self.connect([(scope, port)], first)
            self.connect(loose, scope)
        return scope, [(scope, "default")]


def drawn(block: Block) -> Graph:
    """The graph of a block. It ends where the block's loose ends are."""
    drawing = Drawing()
    entry, _ = drawing.draw(block)
    return Graph.parse(
        {"nodes": drawing.nodes, "edges": drawing.edges, "entry": entry, "max_transitions": 60}
    )


def leaves() -> st.SearchStrategy[Block]:
    kinds = ["task"] * 8 + ["state", "state", "subflow", "timer", "signal", "approval", "inline"]
    return st.builds(Block, st.sampled_from(kinds), st.just(()), st.integers(0, 2))


def blocks() -> st.SearchStrategy[Block]:
    """Blocks inside blocks, a dozen leaves at most."""

    def deeper(inner: st.SearchStrategy[Block]) -> st.SearchStrategy[Block]:
        variants = st.integers(0, 11)

        def some(least: int, most: int) -> st.SearchStrategy[tuple[Block, ...]]:
            return st.lists(inner, min_size=least, max_size=most).map(tuple)

        return st.one_of(
            st.builds(Block, st.just("chain"), some(2, 3), variants),
            st.builds(Block, st.just("fork"), some(1, 3), variants),
            st.builds(Block, st.just("loop"), some(1, 1), variants),
            st.builds(Block, st.just("scope"), some(1, 3), variants),
            st.builds(Block, st.just("route"), some(1, 2), variants),
        )

    return st.recursive(leaves(), deeper, max_leaves=10)


def graphs() -> st.SearchStrategy[Graph]:
    """Graphs that begin with something to do."""
    return blocks().map(lambda block: drawn(Block("chain", (Block("task", (), 1), block))))
