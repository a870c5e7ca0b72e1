"""The jobs that are measured, as clients submit them."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

Graph = Mapping[str, Any]

STEPS = 3
LEAVES = 10


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of job: what to submit, the graph to publish first (if any), and the output that is right."""

    name: str
    says: str
    job: Mapping[str, Any]
    output: Any
    graph: Graph | None = None
    workflow: str | None = None


def _sequence() -> Graph:
    names = [f"step{number}" for number in range(1, STEPS + 1)]
    return {
        "nodes": {name: {"kind": "task", "skill": "step"} for name in names},
        "edges": [{"from": one, "port": "success", "to": two} for one, two in pairwise(names)],
    }


def _fan_out() -> Graph:
    leaves = {f"leaf{number}": number for number in range(LEAVES)}
    return {
        "nodes": {
            "split": {"kind": "fork", "join": "collect"},
            **{
                name: {"kind": "task", "skill": "leaf", "input": {"number": number}}
                for name, number in leaves.items()
            },
            "collect": {"kind": "join", "wait": "all", "merge": "by_node"},
        },
        "edges": [
            *({"from": "split", "port": "default", "to": name} for name in leaves),
            *({"from": name, "port": "success", "to": "collect"} for name in leaves),
        ],
    }


ONE_STEP = Workload(
    name="W1",
    says="one step",
    job={"skill": "noop", "input": {"job": "j"}},
    output={"ok": 1},
)
SEQUENCE = Workload(
    name="W2",
    says=f"{STEPS} tasks in sequence",
    job={"workflow": "bench-sequence", "input": {"x": 0}},
    output={"x": STEPS},
    graph=_sequence(),
    workflow="bench-sequence",
)
FAN_OUT = Workload(
    name="W3",
    says=f"a fork of {LEAVES} worker tasks, and a join",
    job={"workflow": "bench-fan-out", "input": {}},
    output={f"leaf{number}": {"number": number + 1} for number in range(LEAVES)},
    graph=_fan_out(),
    workflow="bench-fan-out",
)
WORKLOADS = (ONE_STEP, SEQUENCE, FAN_OUT)
