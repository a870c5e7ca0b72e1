"""A workflow as a picture: the DOT text of its states and of where they may lead."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|-?(\.[0-9]+|[0-9]+(\.[0-9]*)?)")
_KEYWORDS: Final = frozenset({"node", "edge", "graph", "digraph", "subgraph", "strict"})


def dot_of(name: str, targets: Mapping[str, Iterable[str]]) -> str:
    """The states, in their order, each with an edge to every state that it is seen to lead to."""
    comment = " ".join(f"// State Machine for {name}".splitlines())
    lines = [comment, "digraph {", "\tnode [shape=box style=rounded]"]
    for state, leads_to in targets.items():
        lines += [f"\t{_id(state)} -> {_id(target)}" for target in leads_to]
    lines += [f"\t{_id(state)} [label={_id(state)}]" for state in targets]
    return "\n".join([*lines, "}", ""])


def _id(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _KEYWORDS:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
