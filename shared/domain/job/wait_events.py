"""What happens at the nodes of a job's graph that wait for the world: signals, children, handlers."""

from dataclasses import dataclass
from typing import Literal

from shared.domain.job.events import JobEvent
from shared.domain.job.state import Child, Handling, JobState, Waiting
from shared.domain.values import Json


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
    """Another job is to do the work; its id `child` follows from this job's, so it starts once.

    `deadline` is its own, microseconds since the epoch; `dispatch_timeout` seconds for each of its tasks.
    """

    activation: int
    node: str
    child: str
    workflow: str
    version: int | None = None
    input: Json = None
    transitions: dict[str, str] | None = None
    parent: int = 0
    branch: int = 0
    dispatch_timeout: float | None = None
    deadline: int | None = None

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
                self.dispatch_timeout,
                self.deadline,
            )
        )


@dataclass(frozen=True)
class ChildEnded(JobEvent):
    """The child job ended; `outcome` is its final status, `final_state` the state it was in, if it has any.

    The handler that asked for it finds `sub_job_<id>_result` in the job's context.
    """

    activation: int
    child: str
    outcome: str
    output: Json = None
    error: dict[str, Json] | None = None
    final_state: str | None = None

    def apply(self, aggregate: JobState) -> None:
        if aggregate.orphans.pop(self.activation, None) is not None:
            return
        child = aggregate.deactivate(self.activation)
        if self.error is None:
            aggregate.outputs[child.node] = self.output
        if isinstance(child, Child) and child.transitions is not None:
            aggregate.context[f"sub_job_{self.child}_result"] = {
                "outcome": "success" if self.error is None else "failure",
                "final_state": self.final_state,
                "error_message": None if self.error is None else self.error["message"],
            }


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
        aggregate.state = self.node
        aggregate.states_entered += 1
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
