"""What happens at the nodes of a job's graph that are not tasks."""

from dataclasses import dataclass
from typing import Literal

from shared.domain.job.events import JobEvent
from shared.domain.job.state import (
    CATCH,
    FINALLY,
    Child,
    Group,
    Handling,
    JobState,
    Region,
    Repetition,
    Waiting,
)
from shared.domain.values import Json


@dataclass(frozen=True)
class NodePassed(JobEvent):
    """A node that waits for nothing was passed by `port`; `output` is given where it makes one."""

    activation: int
    node: str
    port: str = "default"
    output: Json = None

    def apply(self, aggregate: JobState) -> None:
        aggregate.last_activation = self.activation
        if self.output is not None:
            aggregate.outputs[self.node] = self.output


@dataclass(frozen=True)
class ContextUpdated(JobEvent):
    """An inline node set values in the context."""

    activation: int
    node: str
    patch: dict[str, Json]

    def apply(self, aggregate: JobState) -> None:
        aggregate.last_activation = self.activation
        aggregate.context.update(self.patch)
        aggregate.outputs[self.node] = self.patch


@dataclass(frozen=True)
class NodeCancelled(JobEvent):
    """A node that waited was given up, because nobody needs its branch any more."""

    activation: int
    node: str

    def apply(self, aggregate: JobState) -> None:
        given_up = aggregate.deactivate(self.activation)
        if isinstance(given_up, Child):
            aggregate.orphans[given_up.id] = given_up.child


@dataclass(frozen=True)
class BranchesForked(JobEvent):
    """Branches begin at the nodes `branches`. `join` is the node they meet at, None if they do not;
    `wait` is all, any or a number; `merge` by_node, list or keys; `failures` fail or collect."""

    activation: int
    node: str
    branches: list[str]
    join: str | None = None
    wait: int | str = "all"
    merge: str = "by_node"
    failures: str = "fail"
    parent: int = 0
    branch: int = 0

    def apply(self, aggregate: JobState) -> None:
        group = Group(
            self.activation,
            self.node,
            self.parent,
            self.branch,
            self.branches,
            self.join,
            self.wait,
            self.merge,
            self.failures,
            set(range(len(self.branches))),
        )
        aggregate.activate(group)


@dataclass(frozen=True)
class BranchArrived(JobEvent):
    """A branch reached its join from `node` with `output`, or failed there with `error`."""

    activation: int
    branch: int
    node: str
    output: Json = None
    error: dict[str, Json] | None = None

    def apply(self, aggregate: JobState) -> None:
        group = aggregate.activations[self.activation]
        assert isinstance(group, Group)
        group.open.discard(self.branch)
        if self.error is None:
            group.arrived[self.branch] = (self.node, self.output)
        else:
            group.failed[self.branch] = (self.node, {"error": self.error})


@dataclass(frozen=True)
class BranchEnded(JobEvent):
    """A branch ended without reaching a join."""

    activation: int
    branch: int

    def apply(self, aggregate: JobState) -> None:
        group = aggregate.activations[self.activation]
        assert isinstance(group, Group)
        group.open.discard(self.branch)


@dataclass(frozen=True)
class JoinPassed(JobEvent):
    """The branches are over, and `node` (the join; the fork where there is none) is passed."""

    activation: int
    node: str
    output: Json = None

    def apply(self, aggregate: JobState) -> None:
        aggregate.deactivate(self.activation)
        aggregate.outputs[self.node] = self.output


@dataclass(frozen=True)
class LoopStarted(JobEvent):
    """A loop begins, over `items`, or by its condition when they are None."""

    activation: int
    node: str
    items: list[Json] | None = None
    width: int = 1
    max_iterations: int = 1000
    failures: str = "fail"
    parent: int = 0
    branch: int = 0

    def apply(self, aggregate: JobState) -> None:
        aggregate.activate(
            Repetition(
                self.activation,
                self.node,
                self.parent,
                self.branch,
                self.items,
                self.width,
                self.max_iterations,
                self.failures,
            )
        )


@dataclass(frozen=True)
class IterationStarted(JobEvent):
    """The body of a loop begins for `index`, counted from 0."""

    activation: int
    index: int

    def apply(self, aggregate: JobState) -> None:
        loop = aggregate.activations[self.activation]
        assert isinstance(loop, Repetition)
        loop.open.add(self.index)
        loop.next = self.index + 1


@dataclass(frozen=True)
class IterationEnded(JobEvent):
    """The body came back with `output`, or failed with `error`."""

    activation: int
    index: int
    output: Json = None
    error: dict[str, Json] | None = None

    def apply(self, aggregate: JobState) -> None:
        loop = aggregate.activations[self.activation]
        assert isinstance(loop, Repetition)
        loop.open.discard(self.index)
        loop.results[self.index] = self.output if self.error is None else {"error": self.error}


@dataclass(frozen=True)
class LoopEnded(JobEvent):
    """The loop is over; `output` lists the outputs of its iterations."""

    activation: int
    output: list[Json]

    def apply(self, aggregate: JobState) -> None:
        loop = aggregate.deactivate(self.activation)
        aggregate.outputs[loop.node] = self.output


@dataclass(frozen=True)
class ScopeEntered(JobEvent):
    """The body of a scope begins."""

    activation: int
    node: str
    payload: Json = None
    parent: int = 0
    branch: int = 0

    def apply(self, aggregate: JobState) -> None:
        aggregate.activate(Region(self.activation, self.node, self.parent, self.branch, self.payload))


@dataclass(frozen=True)
class ErrorCaught(JobEvent):
    """The body failed, and the scope's catch begins."""

    activation: int
    error: dict[str, Json]

    def apply(self, aggregate: JobState) -> None:
        scope = aggregate.activations[self.activation]
        assert isinstance(scope, Region)
        scope.stage = CATCH


@dataclass(frozen=True)
class FinallyEntered(JobEvent):
    """The scope's finally begins; `output` or `error` is what the scope is left with afterwards."""

    activation: int
    output: Json = None
    error: dict[str, Json] | None = None

    def apply(self, aggregate: JobState) -> None:
        scope = aggregate.activations[self.activation]
        assert isinstance(scope, Region)
        scope.stage, scope.output, scope.error = FINALLY, self.output, self.error


@dataclass(frozen=True)
class ScopeLeft(JobEvent):
    """The scope is over."""

    activation: int
    output: Json = None

    def apply(self, aggregate: JobState) -> None:
        scope = aggregate.deactivate(self.activation)
        aggregate.outputs[scope.node] = self.output


@dataclass(frozen=True)
class SignalAwaited(JobEvent):
    """The job waits: for an approval, a signal, or for a time (`until`, else the end of its patience)."""

    activation: int
    node: str
    name: str
    kind: Literal["approval", "signal", "timer"]
    decisions: list[str] | None = None
    until: int | None = None
    payload: Json = None
    message: str | None = None
    transitions: dict[str, str] | None = None
    parent: int = 0
    branch: int = 0

    def apply(self, aggregate: JobState) -> None:
        aggregate.activate(
            Waiting(
                self.activation,
                self.node,
                self.parent,
                self.branch,
                self.name,
                self.kind,
                self.decisions,
                self.until,
                self.payload,
                self.transitions,
            )
        )


@dataclass(frozen=True)
class SignalReceived(JobEvent):
    """A signal came: for the wait `activation`, or (None) to be kept for the next wait of its name."""

    name: str
    payload: Json = None
    by: str = ""
    activation: int | None = None

    def apply(self, aggregate: JobState) -> None:
        aggregate.received[self.name] = self.payload
        if self.activation is None:
            aggregate.signals[self.name] = self.payload
        else:
            waiting = aggregate.deactivate(self.activation)
            aggregate.outputs[waiting.node] = self.payload


@dataclass(frozen=True)
class ApprovalReceived(JobEvent):
    """Somebody decided."""

    activation: int
    name: str
    decision: str
    by: str = ""

    def apply(self, aggregate: JobState) -> None:
        waiting = aggregate.deactivate(self.activation)
        aggregate.approvals[self.name] = self.decision
        aggregate.outputs[waiting.node] = {"decision": self.decision, "by": self.by}


@dataclass(frozen=True)
class WaitEnded(JobEvent):
    """The wait is over without anybody: its time came (`port` default), or its patience ended
    (timeout), or the signal had been there before (default, with `output`)."""

    activation: int
    port: str = "default"
    output: Json = None

    def apply(self, aggregate: JobState) -> None:
        waiting = aggregate.deactivate(self.activation)
        assert isinstance(waiting, Waiting)
        if waiting.kind == "signal" and self.port != "timeout":
            del aggregate.signals[waiting.name]
            aggregate.outputs[waiting.node] = self.output


@dataclass(frozen=True)
class ChildStarted(JobEvent):
    """Another job is to do the work; its id `child` follows from this job's, so it starts once."""

    activation: int
    node: str
    child: str
    workflow: str
    version: int | None = None
    input: Json = None
    transitions: dict[str, str] | None = None
    parent: int = 0
    branch: int = 0

    def apply(self, aggregate: JobState) -> None:
        aggregate.activate(
            Child(
                self.activation,
                self.node,
                self.parent,
                self.branch,
                self.child,
                self.workflow,
                self.version,
                self.input,
                self.transitions,
            )
        )


@dataclass(frozen=True)
class ChildEnded(JobEvent):
    """The child job ended; `outcome` is its final status."""

    activation: int
    child: str
    outcome: str
    output: Json = None
    error: dict[str, Json] | None = None

    def apply(self, aggregate: JobState) -> None:
        if aggregate.orphans.pop(self.activation, None) is None:
            child = aggregate.deactivate(self.activation)
            if self.error is None:
                aggregate.outputs[child.node] = self.output


@dataclass(frozen=True)
class HandlerAwaited(JobEvent):
    """A state node was entered, and its handler is to decide."""

    activation: int
    node: str
    handler: str
    payload: Json = None
    parent: int = 0
    branch: int = 0

    def apply(self, aggregate: JobState) -> None:
        aggregate.activate(
            Handling(self.activation, self.node, self.parent, self.branch, self.handler, self.payload)
        )


@dataclass(frozen=True)
class HandlerDecided(JobEvent):
    """The handler yielded `action` (see actions.py); its `context` is merged into the job's."""

    activation: int
    action: dict[str, Json]

    def apply(self, aggregate: JobState) -> None:
        aggregate.deactivate(self.activation)
        patch = self.action.get("context")
        if isinstance(patch, dict):
            aggregate.context.update(patch)


@dataclass(frozen=True)
class HandlerFailed(JobEvent):
    """The handler raised; `retried` tells whether it runs again."""

    activation: int
    error: dict[str, Json]
    attempt: int = 1
    retried: bool = False

    def apply(self, aggregate: JobState) -> None:
        handling = aggregate.activations[self.activation]
        assert isinstance(handling, Handling)
        handling.attempt += 1
        if not self.retried:
            aggregate.deactivate(self.activation)


EVENTS: tuple[type[JobEvent], ...] = (
    NodePassed,
    ContextUpdated,
    NodeCancelled,
    BranchesForked,
    BranchArrived,
    BranchEnded,
    JoinPassed,
    LoopStarted,
    IterationStarted,
    IterationEnded,
    LoopEnded,
    ScopeEntered,
    ErrorCaught,
    FinallyEntered,
    ScopeLeft,
    SignalAwaited,
    SignalReceived,
    ApprovalReceived,
    WaitEnded,
    ChildStarted,
    ChildEnded,
    HandlerAwaited,
    HandlerDecided,
    HandlerFailed,
)
