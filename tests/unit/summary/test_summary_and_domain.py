"""A job's summary says of the job what the domain says, after every event of every kind."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch
from uuid import UUID

from shared.application import summary_fold
from shared.application.summary import OPEN, STATUSES, TERMINAL, JobSummary, WorkerSummary, WorkflowSummary
from shared.application.summary_fold import FOLDS
from shared.domain.errors import DomainError
from shared.domain.graph import Graph
from shared.domain.job import Facts, Job, JobSpec
from shared.domain.job.actions import Dispatch, GoTo, TaskSpec
from shared.domain.job.events import EVENTS as JOB_EVENTS
from shared.domain.job.node_events import EVENTS as NODE_EVENTS
from shared.domain.job.state import Child, Handling, Waiting
from shared.domain.topics import EVENTS
from shared.domain.values import FINAL, Json, Status, TaskError, to_us
from shared.domain.worker import Worker
from shared.domain.workflow import Workflow

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
JOB = UUID("01890000-0000-7000-8000-000000000000")
LEASE = timedelta(seconds=30)


def _edges(start: str, *ends: str) -> list[Json]:
    return [{"from": start, "to": end} for end in ends]


STEP: dict[str, Json] = {
    "kind": "task",
    "skill": "resize",
    "retry": {"max_attempts": 3, "when_exhausted": "quarantine"},
    "run_timeout": 45,
    "dispatch_timeout": 20,
}
WIDE: dict[str, Json] = {
    "nodes": {
        "begin": {"kind": "start"},
        "split": {"kind": "fork"},
        "step": STEP,
        "keyed": {"kind": "task", "skill": "ocr", "concurrency": {"key": "k", "limit": 1}},
        "ask": {"kind": "wait", "for": "approval", "name": "ask", "decisions": ["yes"], "timeout": 50},
        "nap": {"kind": "wait", "for": "timer", "seconds": 30},
        "call": {"kind": "wait", "for": "signal", "name": "call"},
        "sub": {"kind": "subflow", "workflow": "other"},
        "meet": {"kind": "join", "wait": 5},
        "think": {"kind": "state", "handler": "think"},
        "last": {"kind": "task", "skill": "mail"},
        "done": {"kind": "end"},
    },
    "edges": [
        {"from": "begin", "to": "split"},
        *_edges("split", "step", "keyed", "ask", "nap", "call", "sub"),
        {"from": "step", "to": "meet"},
        {"from": "keyed", "to": "meet"},
        {"from": "nap", "to": "meet"},
        {"from": "call", "to": "meet"},
        {"from": "sub", "to": "meet"},
        {"from": "ask", "port": "yes", "to": "meet"},
        {"from": "ask", "port": "timeout", "to": "meet"},
        {"from": "meet", "to": "think"},
        {"from": "last", "to": "done"},
    ],
}
SCOPED: dict[str, Json] = {
    "nodes": {
        "guard": {"kind": "scope"},
        "step": STEP,
        "mend": {"kind": "task", "skill": "mend"},
        "tidy": {"kind": "task", "skill": "tidy"},
        "each": {"kind": "loop", "over": {"cel": "input.items"}, "width": 2},
        "item": {"kind": "task", "skill": "item"},
    },
    "edges": [
        {"from": "guard", "port": "body", "to": "step"},
        {"from": "step", "to": "guard"},
        {"from": "guard", "port": "catch", "to": "mend"},
        {"from": "mend", "to": "guard"},
        {"from": "guard", "port": "finally", "to": "tidy"},
        {"from": "tidy", "to": "guard"},
        {"from": "guard", "to": "each"},
        {"from": "each", "port": "body", "to": "item"},
        {"from": "item", "to": "each"},
    ],
}
SINGLE = Graph.of_skill("resize", **{k: v for k, v in STEP.items() if k not in ("kind", "skill")})
GRAPHS = (SINGLE, Graph.parse(WIDE), Graph.parse(SCOPED))


class Walker:
    """A job and its summary, which sees the events only as they would be stored."""

    def __init__(self, graph: Graph, spec: JobSpec, room: bool) -> None:
        self.graph, self.room, self.now = graph, room, NOON
        self.summary = JobSummary(str(JOB))
        self.sequence = 0
        self.seen: set[str] = set()
        self.job = Job.accept(JOB, spec, self.facts)
        self.tell()

    @property
    def facts(self) -> Facts:
        return Facts(self.now, self.graph, _evaluate, 0.5, lambda skill: self.room)

    def do(self, command: Callable[[Job, Facts], object]) -> None:
        try:
            command(self.job, self.facts)
        except DomainError:
            assert self.job.pending_events == []
        self.tell()

    def tell(self) -> None:
        self.sequence += 1
        for event in self.job.collect_events():
            fields = {
                name: value
                for name, value in vars(event).items()
                if name not in ("originator_id", "originator_version", "originator_topic", "timestamp")
                and value is not None
            }
            topic = type(event).__name__
            self.seen.add(topic)
            self.summary.apply(topic, fields, to_us(event.timestamp), self.sequence)
            assert self.summary.version_of_job == event.originator_version
        self.check()

    def check(self) -> None:
        job, summary = self.job, self.summary
        assert summary.status == job.status
        assert summary.is_ended == job.is_ended
        assert summary.due_at == job.next_due
        assert summary.output == job.output
        assert summary.paused == job.paused
        if job.is_ended:
            assert summary.tasks == {}
            assert summary.nodes == []
            if job.status != Status.CANCELLED:
                assert summary.error == job.error
            return
        assert {
            number: (task.attempt, task.node, task.skill, task.phase, task.worker, task.limits)
            for number, task in summary.tasks.items()
        } == {
            number: (
                task.attempt,
                task.node,
                task.skill,
                {"queued": "held", "retry_scheduled": "retrying"}.get(task.status, task.status),
                task.worker,
                task.limits,
            )
            for number, task in job.live_tasks.items()
        }
        waiting = (Waiting, Child, Handling)
        live = {task.node for task in job.live_tasks.values()}
        live |= {each.node for each in job.activations.values() if isinstance(each, waiting)}
        assert summary.nodes == sorted(live)


def _evaluate(expression: str, variables: Any) -> Json:
    found: Any = variables
    for part in expression.split("."):
        found = found[part]
    return found  # type: ignore[no-any-return]  # whatever the test put there


def _command(chance: random.Random, walker: Walker) -> Callable[[Job, Facts], object]:
    job = walker.job
    task = chance.randint(1, max(job.tasks, default=1))
    attempt = job.tasks[task].attempt if task in job.tasks else 1
    # Now and then a report that is not for the attempt that runs, or not from who runs it.
    attempt += chance.random() < 0.1
    worker = "w2" if chance.random() < 0.1 else "w1"
    activation = chance.choice(sorted(job.activations) or [1])
    error = TaskError(chance.choice(("transient", "transient", "permanent", "timeout")), "no")
    child = job.activations.get(activation)
    child_id = child.child if isinstance(child, Child) else "none"
    begun = chance.choice((None, to_us(walker.now) - 7))
    watched = TaskSpec("watch", result_timeout=20.0, event_transitions={"alarm": "last"})
    commands: list[Callable[[Job, Facts], object]] = [
        lambda j, f: j.release(task, f),
        lambda j, f: j.release(task, f),
        lambda j, f: j.claim(task, attempt, worker, LEASE, f, started_at=begun),
        lambda j, f: j.renew(task, attempt, worker, LEASE, f),
        lambda j, f: j.progress(task, attempt, worker, 0.5, "half", f),
        lambda j, f: j.succeed(task, attempt, worker, {"t": task}, f, started_at=begun),
        lambda j, f: j.succeed(task, attempt, worker, {"t": task}, f, started_at=begun),
        lambda j, f: j.fail(task, attempt, worker, error, f, started_at=begun),
        lambda j, f: j.expire(f),
        lambda j, f: j.wake(f"retry-{task}-{attempt}", f),
        lambda j, f: j.wake(f"wait-{activation}", f),
        lambda j, f: j.signal("call", 1, f),
        lambda j, f: j.approve("yes", f),
        lambda j, f: j.child_ended(activation, child_id, "succeeded", 1, None, f),
        lambda j, f: j.act(activation, GoTo("last"), f),
        lambda j, f: j.act(activation, Dispatch(watched, {"success": "last"}), f),
        lambda j, f: j.emit(task, attempt, worker, "alarm", {"heat": 90}, f),
        lambda j, f: j.handler_failed(activation, error, f),
    ]
    if chance.random() < 0.1:
        commands = [lambda j, f: j.pause(f), lambda j, f: j.resume(f), lambda j, f: j.resume(f)]
    if chance.random() < 0.02:
        commands = [lambda j, f: j.give_back(task, attempt, worker, f)]
    if chance.random() < 0.01:
        commands = [lambda j, f: j.cancel(f, "enough", "client:test")]
    return chance.choice(commands)


def _walk(seed: int) -> set[str]:
    """Do commands with a job until it ends; the topics of its events."""
    chance = random.Random(seed)
    deadline = to_us(NOON + timedelta(minutes=3)) if chance.random() < 0.3 else None
    spec = JobSpec(skill="resize", input={"items": [1, 2, 3]}, tenant="default", deadline=deadline)
    walker = Walker(chance.choice(GRAPHS), spec, room=chance.random() < 0.5)
    for _ in range(150):
        if walker.job.is_ended and chance.random() < 0.2:
            break
        walker.now += timedelta(seconds=chance.choice((0, 0, 0, 1, 12)))
        walker.do(_command(chance, walker))
    return walker.seen


def test_the_summary_says_what_the_job_says_after_any_command() -> None:
    seen: set[str] = set()
    # The domain knows when a wake-up is due, and not that the sweep gives the broker a little longer.
    with patch.object(summary_fold, "WAKE_GRACE_US", 0):
        for seed in range(1500):
            try:
                seen |= _walk(seed)
            except Exception as error:
                error.add_note(f"walk {seed}")
                raise
    known = {event.__name__ for event in (*JOB_EVENTS, *NODE_EVENTS)}
    assert known - seen <= {"ContextUpdated", "BranchEnded"}, "the walks meet nearly every event"


def test_every_event_of_a_job_has_a_fold_and_every_fold_an_event() -> None:
    assert {event.__name__ for event in (*JOB_EVENTS, *NODE_EVENTS)} == set(FOLDS)


def test_the_words_for_statuses_are_the_domains() -> None:
    assert tuple(status.value for status in Status) == STATUSES
    assert {status.value for status in FINAL} == TERMINAL
    assert set(OPEN) == set(STATUSES) - TERMINAL


def _fields(event: object) -> dict[str, Any]:
    kept = ("originator_id", "originator_version", "originator_topic", "timestamp")
    return {name: value for name, value in vars(event).items() if name not in kept}


def test_a_worker_is_shown_as_the_aggregate_is() -> None:
    worker = Worker.named("w1", NOON)
    summary = WorkerSummary(str(worker.id))
    commands: list[Callable[[], None]] = [
        lambda: worker.register(now=NOON, skills=["a"], instance="1", labels={"gpu": "yes"}),
        lambda: worker.register(now=NOON, skills=["a", "b"], concurrency=3, instance="1"),
        lambda: worker.drain(now=NOON),
        lambda: worker.leave(now=NOON),
        lambda: worker.register(now=NOON, skills=["c"], instance="2"),
        lambda: worker.lose(now=NOON),
    ]
    for command in commands:
        command()
        for event in worker.collect_events():
            summary.apply(type(event).__name__, _fields(event), to_us(event.timestamp), 1)
        for name in ("name", "status", "skills", "concurrency", "labels", "instance"):
            assert getattr(summary, name) == getattr(worker, name)


def test_a_workflow_is_shown_as_the_aggregate_is() -> None:
    workflow = Workflow.named("default", "convert", NOON)
    summary = WorkflowSummary(str(workflow.id))
    workflow.publish({"nodes": {"a": {"kind": "task", "skill": "s"}}, "edges": []}, now=NOON)
    workflow.publish({"nodes": {"b": {"kind": "task", "skill": "s"}}, "edges": []}, now=NOON)
    workflow.delete(now=NOON)
    for event in workflow.collect_events():
        summary.apply(type(event).__name__, _fields(event), to_us(event.timestamp), 7)
    assert (summary.name, summary.tenant, summary.deleted) == ("convert", "default", True)
    assert [(v.version, v.definition) for v in summary.versions] == [
        (v.version, v.definition) for v in workflow.versions
    ]


def test_every_topic_that_is_shown_is_folded_by_one_of_the_three() -> None:
    job = {event.__name__ for event in (*JOB_EVENTS, *NODE_EVENTS)}
    assert {topic for topic in EVENTS if topic not in job} == {
        "WorkerRegistered",
        "WorkerChanged",
        "WorkerDraining",
        "WorkerLeft",
        "WorkerLost",
        "WorkflowPublished",
        "WorkflowDeleted",
        "TimetablePublished",  # the scheduler's own: no read shows it
    }
