"""What happens at the nodes of a job's graph that are not tasks; those that wait are in wait_events."""

from dataclasses import dataclass

from shared.domain.job.claim_events import EVENTS as CLAIM_EVENTS
from shared.domain.job.events import JobEvent
from shared.domain.job.state import (
    CATCH,
    FINALLY,
    Child,
    Group,
    JobState,
    Region,
    Repetition,
)
from shared.domain.job.wait_events import EVENTS as WAIT_EVENTS
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
    *WAIT_EVENTS,
    *CLAIM_EVENTS,
)
