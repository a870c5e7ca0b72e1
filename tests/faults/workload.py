"""The jobs of a run and what must become of each, all worked out beforehand from a seed."""

import random
from collections.abc import Sequence
from typing import Any

from tests.faults.ledger import Order

LEAVES = 10

_THREE = {
    "nodes": {name: {"kind": "task", "skill": "add"} for name in ("first", "second", "third")},
    "edges": [{"from": "first", "to": "second"}, {"from": "second", "to": "third"}],
}
_TEN = {
    "nodes": {
        "spread": {"kind": "fork", "join": "gather"},
        "gather": {"kind": "join", "wait": "all", "merge": "list"},
        **{
            f"leaf{i}": {"kind": "task", "skill": "leaf", "input": {"x": {"cel": "input.x"}, "i": i}}
            for i in range(LEAVES)
        },
    },
    "edges": [
        edge
        for i in range(LEAVES)
        for edge in ({"from": "spread", "to": f"leaf{i}"}, {"from": f"leaf{i}", "to": "gather"})
    ],
}
_CHILD = {
    "nodes": {"call": {"kind": "subflow", "workflow": "three"}, "after": {"kind": "task", "skill": "add"}},
    "edges": [{"from": "call", "port": "success", "to": "after"}],
}
_DELAY = {
    "nodes": {
        "pause": {"kind": "wait", "for": "timer", "seconds": 1},
        "after": {"kind": "task", "skill": "add"},
    },
    "edges": [{"from": "pause", "to": "after"}],
}
GRAPHS: dict[str, dict[str, Any]] = {"three": _THREE, "ten": _TEN, "child": _CHILD, "delay": _DELAY}
"""The workflows to publish before a run, by name."""

KINDS = {
    "one": 40,
    "three": 20,
    "ten": 15,
    "flaky": 8,
    "slow": 7,
    "child": 5,
    "delay": 3,
    "broken": 2,
    "unwanted": 4,
}
"""How often each kind of job comes, by weight."""


def orders(seed: int, count: int, kinds: Sequence[str] = tuple(KINDS)) -> list[Order]:
    """`count` jobs of mixed kinds; the same for the same seed."""
    chance = random.Random(f"{seed} workload")
    weights = [KINDS[kind] for kind in kinds]
    chosen = chance.choices(list(kinds), weights, k=count)
    return [order(kind, f"{seed}-{number}", chance.randrange(1000)) for number, kind in enumerate(chosen)]


def order(kind: str, key: str, x: int) -> Order:
    """One job of a kind, and how it must end."""
    patient = {"max_attempts": 50, "base_seconds": 0.2, "cap_seconds": 1}
    match kind:
        case "one":
            return Order(key, {"skill": "add", "input": {"x": x}, "retry": patient}, output={"x": x + 1})
        case "slow":
            # Long enough that the worker claims it and renews its lease.
            request = {"skill": "add", "input": {"x": x, "seconds": 2.5}, "retry": patient}
            return Order(key, request, output={"x": x + 1})
        case "flaky":
            return Order(key, {"skill": "flaky", "input": {"x": x}, "retry": patient}, output={"x": x + 1})
        case "broken":
            return Order(key, {"skill": "broken", "input": {"x": x}}, status="failed")
        case "unwanted":
            # Its child would run for minutes if nobody stopped it.
            request = {"workflow": "child", "input": {"x": x, "seconds": 300}, "retry": patient}
            return Order(key, request, status="cancelled", cancel_after=x / 500)
        case "three":
            return Order(key, _workflow("three", x, patient), output={"x": x + 3})
        case "child":
            return Order(key, _workflow("child", x, patient), output={"x": x + 4})
        case "delay":
            return Order(key, _workflow("delay", x, patient), output={"x": x + 1})
        case "ten":
            outputs = [{"x": x * LEAVES + i} for i in range(LEAVES)]
            return Order(key, _workflow("ten", x, patient), output=outputs)
        case _:
            raise ValueError(f"there is no kind of job called {kind}")


def _workflow(name: str, x: int, retry: dict[str, Any]) -> dict[str, Any]:
    return {"workflow": name, "input": {"x": x}, "retry": retry}
