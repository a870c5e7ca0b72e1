"""What a job knows: its specification, its tasks, and the activations of nodes that are not tasks.

A job is a tree of *frames*. A frame is (activation, branch): the root is (0, 0); a fork has a frame for each
branch, a loop for each iteration, a scope for each of its stages. Every frame holds one token, which is
either a live task, or a live activation (perhaps the owner of frames of its own).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from shared.domain.values import Json, Status

if TYPE_CHECKING:
    from shared.domain.job.events import JobAccepted, TaskQueued, TaskReleased

TaskStatus = Literal[
    "queued",
    "released",
    "claimed",
    "running",
    "retry_scheduled",
    "succeeded",
    "failed",
    "timed_out",
    "cancelled",
]


@dataclass(slots=True)
class Task:
    """One task through all its attempts. Times are microseconds since the epoch, or seconds for spans.

    `parent` and `branch` are its frame; `transitions` the ports that a state's handler chose for it;
    `taken` tells that no queue has it, `ahead` that it was claimed and never shown to be begun, `lapsed` that
    such a claim ended once;
    `late` the attempts that timed out; `result` the last result that was accepted, to know its repeats.
    """

    id: int
    node: str
    skill: str
    input: Json
    activation: int
    parent: int
    branch: int
    attempt: int
    status: TaskStatus
    urgency: int
    claim: bool
    dispatch_by: int | None
    dispatch_timeout: float | None
    run_timeout: float | None
    retry: dict[str, Json] | None
    limits: list[dict[str, Json]] | None
    transitions: dict[str, str] | None
    worker: str | None = None
    until: int | None = None
    started_at: int | None = None
    not_before: int | None = None
    progress: float = 0.0
    message: str | None = None
    placement: dict[str, Json] | None = None
    event_transitions: dict[str, str] | None = None
    result_by: int | None = None
    remember: bool = False
    taken: bool = False
    ahead: bool = False
    lapsed: bool = False
    late: list[int] = field(default_factory=list)
    result: tuple[Json, ...] | None = None


@dataclass(slots=True)
class Waiting:
    """A node that waits for an approval, a signal or a time."""

    id: int
    node: str
    parent: int
    branch: int
    name: str
    kind: Literal["approval", "signal", "timer"]
    decisions: list[str] | None
    until: int | None
    payload: Json
    transitions: dict[str, str] | None


@dataclass(slots=True)
class Child:
    """A node whose work is another job."""

    id: int
    node: str
    parent: int
    branch: int
    child: str
    workflow: str
    version: int | None
    input: Json
    transitions: dict[str, str] | None
    dispatch_timeout: float | None = None
    deadline: int | None = None


@dataclass(slots=True)
class Handling:
    """A state node whose handler has not decided yet; `attempt` counts its runs from 1."""

    id: int
    node: str
    parent: int
    branch: int
    handler: str
    payload: Json
    attempt: int = 1


@dataclass(slots=True)
class Group:
    """The branches of a fork, and what has come of them. `arrived` holds (node, output or error)."""

    id: int
    node: str
    parent: int
    branch: int
    branches: list[str]
    join: str | None
    wait: int | str
    merge: str
    failures: str
    open: set[int]
    arrived: dict[int, tuple[str, Json]] = field(default_factory=dict)
    failed: dict[int, tuple[str, Json]] = field(default_factory=dict)


@dataclass(slots=True)
class Repetition:
    """A loop that runs. `items` is None for a loop with a condition; `next` is the next index."""

    id: int
    node: str
    parent: int
    branch: int
    items: list[Json] | None
    width: int
    bound: int
    failures: str
    next: int = 0
    open: set[int] = field(default_factory=set)
    results: dict[int, Json] = field(default_factory=dict)


BODY, CATCH, FINALLY = 0, 1, 2


@dataclass(slots=True)
class Region:
    """A scope: its stage is the branch of its frame; what waits for the end of finally is kept."""

    id: int
    node: str
    parent: int
    branch: int
    payload: Json
    stage: int = BODY
    output: Json = None
    error: dict[str, Json] | None = None


Activation: TypeAlias = Waiting | Child | Handling | Group | Repetition | Region


class JobState:
    """The state that the events fold to. Only events change it.

    `live_tasks` and `activations` hold what has not ended; `outputs` the last output of each node;
    `signals` those that came before their wait, `received` and `approvals` the last of each name;
    `ignored` the reports recorded as ignored; `orphans` children (activation, id) that nobody waits for;
    `emitted` the ids of events that were told; `state` the state node entered last, of `states_entered`.
    """

    spec: "JobAccepted"
    tasks: dict[int, Task]
    live_tasks: dict[int, Task]
    activations: dict[int, Activation]
    last_activation: int
    outputs: dict[str, Json]
    context: dict[str, Json]
    signals: dict[str, Json]
    received: dict[str, Json]
    approvals: dict[str, str]
    ignored: set[tuple[int, int, str, str, str]]
    orphans: dict[int, str]
    emitted: set[str]
    state: str | None
    states_entered: int
    paused: bool
    ended: Status | None
    output: Json
    error: dict[str, Json] | None

    def begin(self, spec: "JobAccepted") -> None:
        self.spec = spec
        self.tasks = {}
        self.live_tasks = {}
        self.activations = {}
        self.last_activation = 0
        self.outputs = {}
        self.context = {}
        self.signals = {}
        self.received = {}
        self.approvals = {}
        self.ignored = set()
        self.orphans = {}
        self.emitted = set()
        self.state = None
        self.states_entered = 0
        self.paused = False
        self.ended = None
        self.output = None
        self.error = None

    def offer(self, event: "TaskQueued | TaskReleased", status: TaskStatus) -> None:
        """A task stands ready: a new one, one that was held, or another attempt."""
        task = self.tasks.get(event.task)
        if task is None:
            task = Task(
                event.task,
                event.node,
                event.skill,
                event.input,
                event.activation,
                event.parent,
                event.branch,
                event.attempt,
                status,
                event.urgency,
                event.claim,
                event.dispatch_by,
                event.dispatch_timeout,
                event.run_timeout,
                event.retry,
                event.limits,
                event.transitions,
                placement=event.placement,
                event_transitions=event.event_transitions,
                result_by=event.result_by,
                remember=event.remember,
            )
            self.tasks[event.task] = task
            self.last_activation = event.activation
        else:
            self.restart(task, event.attempt, status)
            task.dispatch_by = event.dispatch_by
        self.live_tasks[event.task] = task

    def restart(self, task: Task, attempt: int, status: TaskStatus) -> None:
        """The task waits again, and nobody holds it."""
        task.attempt, task.status = attempt, status
        task.worker = task.until = task.started_at = task.not_before = task.message = None
        task.progress, task.taken = 0.0, False
        self.live_tasks[task.id] = task

    def close(self, task_id: int, status: TaskStatus) -> Task:
        """The task's attempt is over."""
        task = self.live_tasks.pop(task_id)
        task.status = status
        task.until = None
        return task

    def activate(self, activation: Activation) -> None:
        self.activations[activation.id] = activation
        self.last_activation = activation.id

    def deactivate(self, activation: int) -> Activation:
        """The node is left, or given up."""
        return self.activations.pop(activation)

    def end(self, status: Status, output: Json = None, error: dict[str, Json] | None = None) -> None:
        for live in self.activations.values():
            if isinstance(live, Child):
                self.orphans[live.id] = live.child
        self.activations = {}
        self.ended, self.output, self.error = status, output, error
        self.paused = False

    def within(self, parent: int, branch: int, owner: int, frame: int | None) -> bool:
        """Whether the frame (parent, branch) lies inside `owner`'s frame `frame` (None: any of its)."""
        while parent:
            if parent == owner and frame in (None, branch):
                return True
            above = self.activations[parent]
            parent, branch = above.parent, above.branch
        return False

    def enclosing(self, parent: int, branch: int) -> Iterator[tuple[Activation, int]]:
        """The owners of the frame and of the frames around it, innermost first, with their branch."""
        while parent:
            owner = self.activations[parent]
            yield owner, branch
            parent, branch = owner.parent, owner.branch
