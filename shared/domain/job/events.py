"""What happens to a job and its tasks. Fields are JSON primitives; times are microseconds since the epoch.

Events are for ever: a field may be added with a default, never renamed, retyped or removed.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from eventsourcing.domain import Aggregate, CanMutateAggregate
from eventsourcing.utils import register_topic, resolve_topic

from shared.domain.job.state import JobState
from shared.domain.values import NORMAL_URGENCY, Json, Status


@dataclass(frozen=True)
class JobEvent(Aggregate.Event):
    """Something that happened to a job. `TOPIC` is the name it is stored under."""

    TOPIC: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.TOPIC = cls.__name__
        register_topic(cls.TOPIC, cls)

    def apply(self, aggregate: JobState) -> None:
        raise NotImplementedError


E = TypeVar("E", bound=CanMutateAggregate[UUID])


def made(event_class: type[E], id: UUID, version: int, fields: dict[str, Any]) -> E:  # noqa: A002
    """An event without running its __init__: fields that are not given are the class's defaults.

    `fields` becomes the event's own; nobody may change it afterwards.
    """
    event = event_class.__new__(event_class)
    fields["originator_id"] = id
    fields["originator_version"] = version
    object.__setattr__(event, "__dict__", fields)
    return event


@dataclass(frozen=True)
class JobAccepted(JobEvent, Aggregate.Created):
    """A job was submitted; the fields are those of JobSpec."""

    workflow: str | None = None
    version: int | None = None
    definition: str = ""
    skill: str | None = None
    input: Json = None
    tenant: str = ""
    owner: str = ""
    urgency: int = NORMAL_URGENCY
    tags: dict[str, str] | None = None
    alias: str | None = None
    origin: str = "native"
    deadline: int | None = None
    dispatch_timeout: float | None = None
    run_timeout: float | None = None
    retry: dict[str, Json] | None = None
    concurrency: dict[str, Json] | None = None
    rate: dict[str, Json] | None = None
    parent: dict[str, Json] | None = None
    depth: int = 0
    retry_of: str | None = None
    webhook_url: str | None = None
    trace: str | None = None
    native_priority: Json = None
    metadata: dict[str, Json] | None = None
    trigger: str = "api"
    policy: dict[str, Json] | None = None
    max_transitions: int | None = None
    max_depth: int | None = None

    def mutate(self, aggregate: Any) -> Any:
        """The job that begins so. What the library does here costs 11 µs for as many fields as these."""
        assert aggregate is None, "a job is accepted once"
        job = resolve_topic(self.originator_topic)
        aggregate = job.__new__(job)
        aggregate.__base_init__(self.originator_id, self.originator_version, self.timestamp)
        aggregate.begin(self)
        return aggregate


@dataclass(frozen=True)
class TaskOffered(JobEvent):
    """The whole of a task. (`activation`, `parent`, `branch`) place it in the graph, `retry` and
    `transitions` override what its node says, `limits` are the keys it counts against.

    `placement` is what its worker must be beside having the skill; `event_transitions` lead from the names
    of events to nodes; `result_by` is when it is too late for a result; with `remember` an object that it
    gives is merged into the job's context. `deadline` and `metadata` are those of the job, for its worker.
    """

    task: int
    skill: str
    attempt: int = 1
    node: str = "task"
    input: Json = None
    activation: int = 1
    parent: int = 0
    branch: int = 0
    claim: bool = False
    urgency: int = NORMAL_URGENCY
    dispatch_by: int | None = None
    dispatch_timeout: float | None = None
    run_timeout: float | None = None
    retry: dict[str, Json] | None = None
    limits: list[dict[str, Json]] | None = None
    transitions: dict[str, str] | None = None
    workflow: str | None = None
    tenant: str = ""
    trace: str | None = None
    placement: dict[str, Json] | None = None
    event_transitions: dict[str, str] | None = None
    result_by: int | None = None
    remember: bool = False
    deadline: int | None = None
    metadata: dict[str, Json] | None = None


@dataclass(frozen=True)
class TaskQueued(TaskOffered):
    """A task is ready, and held until it is released: for room, for a limit, or for a resume."""

    def apply(self, aggregate: JobState) -> None:
        aggregate.offer(self, "queued")


@dataclass(frozen=True)
class TaskReleased(TaskOffered):
    """A task is in its skill's queue, for any worker. It holds all that a worker needs.

    `taken`: it is in no queue, because the same decision gives it to a worker.
    """

    taken: bool = False

    def apply(self, aggregate: JobState) -> None:
        aggregate.offer(self, "released")
        aggregate.live_tasks[self.task].taken = self.taken


@dataclass(frozen=True)
class TaskProgressed(JobEvent):
    """The worker told how far it is: `progress` from 0 to 1, never less than before."""

    task: int
    attempt: int
    worker: str
    progress: float
    message: str | None = None

    def apply(self, aggregate: JobState) -> None:
        task = aggregate.live_tasks[self.task]
        task.progress, task.message, task.ahead = self.progress, self.message, False
        task.status = "running"


@dataclass(frozen=True)
class TaskSucceeded(JobEvent):
    """The attempt gave `output`; `port` says which edge the job takes from here."""

    task: int
    attempt: int
    worker: str
    output: Json = None
    port: str = "success"
    started_at: int | None = None

    def apply(self, aggregate: JobState) -> None:
        task = aggregate.close(self.task, "succeeded")
        task.worker, task.started_at = self.worker, self.started_at or task.started_at
        task.result = (self.attempt, self.worker, self.port, self.output)
        aggregate.outputs[task.node] = self.output
        if task.remember and isinstance(self.output, dict):
            aggregate.context.update(self.output)


@dataclass(frozen=True)
class TaskFailed(JobEvent):
    """The attempt failed with `error`; another attempt follows in the same decision, or none does."""

    task: int
    attempt: int
    worker: str
    error: dict[str, Json]
    started_at: int | None = None

    def apply(self, aggregate: JobState) -> None:
        task = aggregate.close(self.task, "failed")
        task.worker, task.started_at = self.worker, self.started_at or task.started_at
        task.result = (self.attempt, self.worker, None, self.error)


@dataclass(frozen=True)
class TaskTimedOut(JobEvent):
    """Time ran out for the attempt: `what` is waiting, executing or lease."""

    task: int
    attempt: int
    what: str
    error: dict[str, Json]

    def apply(self, aggregate: JobState) -> None:
        aggregate.close(self.task, "timed_out").late.append(self.attempt)


@dataclass(frozen=True)
class TaskRetryScheduled(JobEvent):
    """Attempt number `attempt` follows, not before `not_before`."""

    task: int
    attempt: int
    not_before: int

    def apply(self, aggregate: JobState) -> None:
        task = aggregate.tasks[self.task]
        aggregate.restart(task, self.attempt, "retry_scheduled")
        task.not_before = self.not_before


@dataclass(frozen=True)
class TaskCancelled(JobEvent):
    """Nobody needs the task any more; a worker that runs it may stop."""

    task: int
    attempt: int

    def apply(self, aggregate: JobState) -> None:
        aggregate.close(self.task, "cancelled")


@dataclass(frozen=True)
class EventEmitted(JobEvent):
    """Somebody told something about the job: a worker about its `task`, or a handler (no task).

    `id` is the teller's own, so that telling it again is not recorded.
    """

    name: str
    payload: Json = None
    by: str = ""
    id: str = ""
    task: int | None = None
    attempt: int | None = None

    def apply(self, aggregate: JobState) -> None:
        if self.id:
            aggregate.emitted.add(self.id)
        if self.task is None:
            return
        task = aggregate.live_tasks[self.task]
        if task.remember and self.name in (task.event_transitions or {}) and isinstance(self.payload, dict):
            aggregate.context.update(self.payload)


@dataclass(frozen=True)
class ReportIgnored(JobEvent):
    """A report (`kind`) came that changes nothing, for `reason`."""

    task: int
    attempt: int
    worker: str
    reason: str
    kind: str

    def apply(self, aggregate: JobState) -> None:
        aggregate.ignored.add((self.task, self.attempt, self.worker, self.reason, self.kind))


@dataclass(frozen=True)
class JobPaused(JobEvent):
    """Nothing new is released until the job is resumed."""

    by: str = ""

    def apply(self, aggregate: JobState) -> None:
        aggregate.paused = True


@dataclass(frozen=True)
class JobResumed(JobEvent):
    """Releases go on."""

    by: str = ""

    def apply(self, aggregate: JobState) -> None:
        aggregate.paused = False


@dataclass(frozen=True)
class JobSucceeded(JobEvent):
    """The end: the last path ended, with `output`."""

    output: Json = None

    def apply(self, aggregate: JobState) -> None:
        aggregate.end(Status.SUCCEEDED, self.output)


@dataclass(frozen=True)
class JobFailed(JobEvent):
    """The end: an error that nothing in the graph caught."""

    error: dict[str, Json]

    def apply(self, aggregate: JobState) -> None:
        aggregate.end(Status.FAILED, None, self.error)


@dataclass(frozen=True)
class JobTimedOut(JobEvent):
    """The end: the deadline passed, or a time-out that nothing in the graph caught."""

    error: dict[str, Json]

    def apply(self, aggregate: JobState) -> None:
        aggregate.end(Status.TIMED_OUT, None, self.error)


@dataclass(frozen=True)
class JobCancelled(JobEvent):
    """The end: somebody cancelled the job. A success that comes later is ignored."""

    reason: str = ""
    by: str = ""

    def apply(self, aggregate: JobState) -> None:
        aggregate.end(Status.CANCELLED)


@dataclass(frozen=True)
class JobQuarantined(JobEvent):
    """The end: the job is set aside for somebody to look at."""

    error: dict[str, Json]

    def apply(self, aggregate: JobState) -> None:
        aggregate.end(Status.QUARANTINED, None, self.error)


TERMINAL: tuple[type[JobEvent], ...] = (JobSucceeded, JobFailed, JobTimedOut, JobCancelled, JobQuarantined)


EVENTS: tuple[type[JobEvent], ...] = (
    JobAccepted,
    TaskQueued,
    TaskReleased,
    TaskProgressed,
    TaskSucceeded,
    TaskFailed,
    TaskTimedOut,
    TaskRetryScheduled,
    TaskCancelled,
    EventEmitted,
    ReportIgnored,
    JobPaused,
    JobResumed,
    JobSucceeded,
    JobFailed,
    JobTimedOut,
    JobCancelled,
    JobQuarantined,
)
