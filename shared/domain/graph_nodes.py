"""The kinds of node that a graph is made of, parsed and frozen."""

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

from shared.domain.template import Template
from shared.domain.values import Json

DEFAULT_PORT: Final = "default"
SUCCESS_PORT: Final = "success"
FAILURE_PORT: Final = "failure"
DEFAULT_MAX_ITERATIONS: Final = 1000

Failures = Literal["fail", "collect"]
"""What a failed branch or iteration does: fail the whole, or count as an answer that holds an error."""


class Target(NamedTuple):
    """Where an edge leads; `into` is "break" when it ends the loop that it leads to."""

    node: str
    into: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """The entry; it passes the job's input on."""

    name: str
    kind: Literal["start"] = "start"


@dataclass(frozen=True, slots=True)
class End:
    """Ends its path; with the outcome "failed" it fails the job. `output` None means the payload."""

    name: str
    outcome: Literal["succeeded", "failed"] = "succeeded"
    output: Template | None = None
    kind: Literal["end"] = "end"


@dataclass(frozen=True, slots=True)
class State:
    """A registered handler decides, by one action, where to go."""

    name: str
    handler: str
    retry: dict[str, Json] | None = None
    kind: Literal["state"] = "state"


@dataclass(frozen=True, slots=True)
class Task:
    """Work for a worker with the skill. `input` None means the payload; times are seconds.

    `placement` is what the worker must be beside having the skill.
    """

    name: str
    skill: str
    input: Template | None = None
    retry: dict[str, Json] | None = None
    run_timeout: float | None = None
    dispatch_timeout: float | None = None
    limits: tuple[dict[str, Json], ...] = ()
    claim: bool = False
    urgency: int | None = None
    placement: dict[str, Json] | None = None
    kind: Literal["task"] = "task"


@dataclass(frozen=True, slots=True)
class Inline:
    """Sets values in the job's context and passes them on."""

    name: str
    values: Template
    kind: Literal["inline"] = "inline"


@dataclass(frozen=True, slots=True)
class Route:
    """Passes the payload on by the port of the first case whose expression is true."""

    name: str
    cases: tuple[tuple[str, str], ...]
    default: str = DEFAULT_PORT
    kind: Literal["route"] = "route"


@dataclass(frozen=True, slots=True)
class Fork:
    """Starts a branch for every edge. `join` None: the branches run to their own ends."""

    name: str
    join: str | None = None
    kind: Literal["fork"] = "fork"


@dataclass(frozen=True, slots=True)
class Join:
    """Waits for all, any or n branches of its fork and passes their merged outputs on."""

    name: str
    wait: int | Literal["all", "any"] = "all"
    merge: Literal["by_node", "list", "keys"] = "by_node"
    failures: Failures = "fail"
    kind: Literal["join"] = "join"


@dataclass(frozen=True, slots=True)
class Loop:
    """Runs its body for each item of `over`, or as long as `condition` is true; `width` at a time."""

    name: str
    over: Template | None = None
    condition: str | None = None
    width: int = 1
    max_iterations: int = DEFAULT_MAX_ITERATIONS
    failures: Failures = "fail"
    kind: Literal["loop"] = "loop"


@dataclass(frozen=True, slots=True)
class Wait:
    """Waits for an approval, a signal or a time. `seconds` is the delay, `timeout` the patience."""

    name: str
    what: Literal["approval", "signal", "timer"]
    signal: str
    seconds: Template | None = None
    timeout: float | None = None
    decisions: tuple[str, ...] = ()
    message: str | None = None
    kind: Literal["wait"] = "wait"


@dataclass(frozen=True, slots=True)
class Subflow:
    """Runs another workflow as a child job. `version` None means the newest when it starts."""

    name: str
    workflow: str
    version: int | None = None
    input: Template | None = None
    kind: Literal["subflow"] = "subflow"


@dataclass(frozen=True, slots=True)
class Scope:
    """A region (port body) whose errors go to catch, and which is always left through finally."""

    name: str
    kind: Literal["scope"] = "scope"


IdleNode: TypeAlias = Start | End | State | Inline | Route | Fork | Join | Loop | Wait | Subflow | Scope
"""A node that is no work for a worker."""

Node: TypeAlias = Task | IdleNode


def port_name(port: str | None) -> str:
    """One name for the ports that are one: None, "", "exec_out" and "default"."""
    return DEFAULT_PORT if port is None or port in ("", "exec_out") else port
