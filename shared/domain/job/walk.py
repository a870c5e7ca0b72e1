"""Walks a job through its graph: from one event to all that follows of it, in one decision.

Source: the token semantics of workflow nets (van der Aalst, "The Application of Petri Nets to Workflow
Management", 1998), with one token a frame, so that the end of a frame needs no counting.
"""

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid5

from shared.domain.graph_nodes import (
    DEFAULT_PORT,
    FAILURE_PORT,
    SUCCESS_PORT,
    Subflow,
    Target,
    Wait,
)
from shared.domain.graph_nodes import Task as TaskNode
from shared.domain.job import constructs, nodes, offers
from shared.domain.job.events import (
    JobEvent,
    JobFailed,
    JobQuarantined,
    JobSucceeded,
    JobTimedOut,
    TaskCancelled,
)
from shared.domain.job.node_events import NodeCancelled
from shared.domain.job.spec import Facts
from shared.domain.job.state import Group, Region, Repetition
from shared.domain.job.wait_events import ChildStarted
from shared.domain.retry import RetryPolicy
from shared.domain.template import Template
from shared.domain.values import Json, TaskError, seconds_us

if TYPE_CHECKING:
    from shared.domain.job.job import Job

MAX_DEPTH: Final = 10
"""Jobs inside jobs, where the job itself says nothing else."""
ANY_PORT: Final = "*"


class Walk:
    """One decision's way through the graph. Methods act by emitting events; `run` goes on to the end."""

    __slots__ = ("facts", "graph", "job", "todo")

    def __init__(self, job: "Job", facts: Facts) -> None:
        self.job, self.facts, self.graph = job, facts, facts.graph
        self.todo: deque[tuple[str, int, int, Json]] = deque()

    def emit(self, event: type[JobEvent], **fields: Any) -> None:
        fields["timestamp"] = self.facts.now
        self.job.record(event, fields)

    def enter(self, node: str, parent: int, branch: int, payload: Json) -> None:
        """The token of a frame is to enter a node; `run` does it."""
        self.todo.append((node, parent, branch, payload))

    def run(self) -> None:
        """Goes on until every token waits for the world, or the job has ended."""
        job, todo = self.job, self.todo
        while todo and job.ended is None:
            name, parent, branch, payload = todo.popleft()
            if parent and not self._is_open(parent, branch):
                continue  # the frame was given up in this decision
            if job.last_activation >= self.graph.max_transitions:
                why = f"the job entered more than {self.graph.max_transitions} nodes"
                self.end(TaskError("permanent", why, "transition_bound"))
                return
            node = self.graph.nodes[name]
            if isinstance(node, TaskNode):
                offers.enter(self, node, parent, branch, payload)
            else:
                nodes.enter(self, node, parent, branch, payload)

    def leave(
        self,
        node: str,
        port: str,
        parent: int,
        branch: int,
        payload: Json,
        transitions: Mapping[str, str] | None = None,
    ) -> None:
        """The token leaves a node by a port. Without an edge there, its path ends."""
        if transitions is not None:
            name = _transition(transitions, port)
            if name is not None and name in self.graph.nodes:
                self.arrive(Target(name), node, parent, branch, payload)
                return
            what = f"leads to {name!r}, which is no node" if name else "has no transition"
            error = TaskError(
                "contract_violation", f"node {node!r}: the port {port!r} {what}", "unknown_port"
            )
            self.fail(node, parent, branch, error, {})
            return
        target = self.graph.follow(node, port)
        if target is not None:
            self.arrive(target, node, parent, branch, payload)
        elif self._must_know(node, port):
            why = f"node {node!r}: the port {port!r} has no edge"
            self.fail(node, parent, branch, TaskError("contract_violation", why, "unknown_port"))
        else:
            self.end_path(parent, branch, payload)

    def arrive(self, target: Target, source: str, parent: int, branch: int, payload: Json) -> None:
        """The token reaches a node: a new one, or the one that its frame, or one around it, returns to.

        A path that returns to an outer construct gives up what is open of the inner ones.
        """
        for owner, frame in self.job.enclosing(parent, branch):
            if (owner.join if isinstance(owner, Group) else owner.node) != target.node:
                continue
            if owner.id != parent:
                self.give_up(owner.id, frame)
            if isinstance(owner, Group):
                constructs.branch_arrived(self, owner, frame, source, payload)
            elif isinstance(owner, Repetition):
                constructs.iteration_ended(self, owner, frame, payload, breaks=target.into == "break")
            else:
                assert isinstance(owner, Region), "nothing else owns frames"
                constructs.stage_returned(self, owner, payload)
            return
        self.enter(target.node, parent, branch, payload)

    def end_path(self, parent: int, branch: int, payload: Json) -> None:
        """The token of a frame is gone, with `payload` as what came of it."""
        if not parent:
            self.emit(JobSucceeded, output=payload)
            return
        owner = self.job.activations[parent]
        if isinstance(owner, Group):
            constructs.branch_ended(self, owner, branch, payload)
        elif isinstance(owner, Repetition):
            constructs.iteration_ended(self, owner, branch, payload)
        else:
            assert isinstance(owner, Region), "nothing else owns frames"
            constructs.stage_returned(self, owner, payload)

    def fail(
        self,
        node: str,
        parent: int,
        branch: int,
        error: TaskError,
        transitions: Mapping[str, str] | None = None,
        quarantine: bool = False,
    ) -> None:
        """A node failed for good: follow its failure edge, or let what is around it catch the error.

        If nothing does, the job ends.
        """
        target = self.failure_target(node, error, transitions)
        if target is not None:
            self.arrive(target, node, parent, branch, {"error": error.to_json()})
            return
        for owner, frame in list(self.job.enclosing(parent, branch)):
            if constructs.catches(self, owner, frame, node, error, inner=owner.id != parent):
                return
            after = constructs.node_after(owner)
            onward = self.graph.follow(after, FAILURE_PORT) if after is not None else None
            if onward is not None:
                self.give_up(owner.id, None)
                self.emit(NodeCancelled, activation=owner.id, node=owner.node)
                self.arrive(onward, owner.node, owner.parent, owner.branch, {"error": error.to_json()})
                return
        self.end(error, quarantine)

    def end(self, error: TaskError, quarantine: bool = False) -> None:
        """The job ends with an error."""
        self.cancel_tasks()
        kind: type[JobEvent] = JobTimedOut if error.kind == "timeout" else JobFailed
        self.emit(JobQuarantined if quarantine else kind, error=error.to_json())

    def cancel_tasks(self) -> None:
        """Every task that is still live is cancelled, because the job ends."""
        for task in list(self.job.live_tasks.values()):
            self.emit(TaskCancelled, task=task.id, attempt=task.attempt)

    def give_up(self, owner: int, frame: int | None) -> None:
        """Cancels all that is open inside a frame of `owner` (None: inside all of its frames)."""
        job = self.job
        for task in list(job.live_tasks.values()):
            if job.within(task.parent, task.branch, owner, frame):
                self.emit(TaskCancelled, task=task.id, attempt=task.attempt)
        inside = [a for a in job.activations.values() if job.within(a.parent, a.branch, owner, frame)]
        for activation in inside:
            self.emit(NodeCancelled, activation=activation.id, node=activation.node)

    def start_child(
        self,
        node: str,
        workflow: str,
        version: int | None,
        value: Json,
        parent: int,
        branch: int,
        transitions: dict[str, str] | None = None,
        dispatch_timeout: float | None = None,
        result_timeout: float | None = None,
    ) -> None:
        """A child job is to do the work of a node."""
        activation = self.job.last_activation + 1
        most = self.job.spec.max_depth or MAX_DEPTH
        if self.job.spec.depth >= most:
            why = f"node {node!r}: jobs are nested deeper than {most}"
            error = TaskError("permanent", why, "depth_bound")
            quarantine = RetryPolicy.of(self.job.spec.retry).quarantines(error.kind)
            self.fail(node, parent, branch, error, transitions, quarantine)
            return
        self.emit(
            ChildStarted,
            activation=activation,
            node=node,
            child=str(uuid5(self.job.id, f"child-{activation}")),
            workflow=workflow,
            version=version,
            input=value,
            transitions=transitions,
            parent=parent,
            branch=branch,
            dispatch_timeout=dispatch_timeout,
            deadline=None if result_timeout is None else self.facts.now_us + seconds_us(result_timeout),
        )

    def render(self, template: Template, parent: int, branch: int, payload: Json) -> Json:
        """What a template gives in a frame. Raises ExpressionError."""
        if not template.dynamic:
            return template.value
        return template.render(self.facts.evaluate, self.variables(parent, branch, payload))

    def variables(self, parent: int, branch: int, payload: Json) -> dict[str, Json]:
        """What expressions see in a frame; `item` and `index` are those of the innermost loop."""
        job = self.job
        item: Json = None
        index: Json = None
        for owner, frame in job.enclosing(parent, branch):
            if isinstance(owner, Repetition):
                index = frame
                item = owner.items[frame] if owner.items is not None else None
                break
        return {
            "input": job.spec.input,
            "nodes": job.outputs,
            "last": payload,
            "context": job.context,
            "item": item,
            "index": index,
        }

    def _is_open(self, parent: int, branch: int) -> bool:
        match self.job.activations.get(parent):
            case Group() | Repetition() as owner:
                return branch in owner.open
            case Region(stage=stage):
                return branch == stage
        return False

    def _must_know(self, node: str, port: str) -> bool:
        """Whether a port without an edge is a mistake: the node has edges for other answers."""
        if port in (DEFAULT_PORT, SUCCESS_PORT) or not isinstance(
            self.graph.nodes[node], TaskNode | Wait | Subflow
        ):
            return False
        return bool(self.graph.edges.get(node, {}).keys() - {FAILURE_PORT, "timeout", "cancelled"})

    def failure_target(
        self, node: str, error: TaskError, transitions: Mapping[str, str] | None
    ) -> Target | None:
        for port in (error.port, FAILURE_PORT):
            if port is None:
                continue
            if transitions is None:
                target = self.graph.follow(node, port)
                if target is not None:
                    return target
            elif transitions.get(port) in self.graph.nodes:
                return Target(transitions[port])
        return None


def _transition(transitions: Mapping[str, str], port: str) -> str | None:
    if port in (DEFAULT_PORT, SUCCESS_PORT):
        found = transitions.get(SUCCESS_PORT) or transitions.get(DEFAULT_PORT)
    else:
        found = transitions.get(port)
    return found or transitions.get(ANY_PORT)
