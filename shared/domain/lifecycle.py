"""Prints docs/job_lifecycle.md from the domain itself: every command is given to a job in every status.

python -m shared.domain.lifecycle > docs/job_lifecycle.md
"""

import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from eventsourcing.domain import AggregateEvent

from shared.domain.errors import DomainError
from shared.domain.graph import MAX_EDGES, MAX_NODES, MAX_TRANSITIONS, Graph
from shared.domain.graph_nodes import DEFAULT_MAX_ITERATIONS
from shared.domain.job import Facts, GoTo, Job, JobSpec, Status, TaskError, Verdict
from shared.domain.job.constructs import MAX_NESTING
from shared.domain.job.effects import Effect
from shared.domain.job.events import EVENTS as JOB_EVENTS
from shared.domain.job.node_events import EVENTS as NODE_EVENTS
from shared.domain.job.reports import MOST_IGNORED_RECORDED
from shared.domain.job.walk import MAX_DEPTH
from shared.domain.retry import RetryPolicy
from shared.domain.values import FINAL, Json

MEANINGS: Final[dict[Status, str]] = {
    Status.PENDING: "accepted; the orchestrator itself is at work (a handler is to decide)",
    Status.QUEUED: "a task stands ready, held or released, and no worker has claimed it",
    Status.ASSIGNED: "a worker has claimed a task",
    Status.RUNNING: "a worker says that it is at work on a task",
    Status.WAITING_CHILDREN: "another job does the work",
    Status.WAITING_SIGNAL: "somebody is to approve or to signal, or a delay is to pass",
    Status.RETRY_SCHEDULED: "a failed task waits for its next attempt",
    Status.PAUSED: "nothing new is released; what runs may end",
    Status.SUCCEEDED: "the last path ended",
    Status.FAILED: "an error that nothing caught",
    Status.TIMED_OUT: "the deadline passed, or a time-out that nothing caught",
    Status.CANCELLED: "somebody cancelled it; a success that comes later is ignored",
    Status.QUARANTINED: "set aside for somebody to look at",
}

_NOON: Final = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
_ID: Final = UUID(int=1)
_LEASE: Final = timedelta(seconds=60)
_TASK: Final = Graph.of_skill("work")


class _Run:
    """One job in one situation, and what becomes of it."""

    def __init__(self, node: dict[str, Json] | None = None, room: bool = True, **policy: Json) -> None:
        self.graph = _TASK if node is None else Graph.parse({"nodes": {"it": node}})
        self.room, self.seconds = room, 0.0
        retry = {"max_attempts": 2, **policy}
        self.job = Job.accept(_ID, JobSpec(retry=retry, dispatch_timeout=1800), self.facts)

    @property
    def facts(self) -> Facts:
        now = _NOON + timedelta(seconds=self.seconds)
        return Facts(
            now, self.graph, evaluate=lambda expression, variables: None, has_room=lambda _: self.room
        )

    def after(self, *commands: "_Command") -> "_Run":
        for command in commands:
            command(self)
        self.job.collect_events()
        return self


_Command = Callable[[_Run], Verdict | None]


def _claim(run: _Run) -> Verdict:
    return run.job.claim(1, 1, "w1", _LEASE, run.facts)


def _start(run: _Run) -> Verdict:
    return run.job.claim(1, 1, "w1", _LEASE, run.facts, started_at=run.facts.now_us)


def _succeed(run: _Run) -> Verdict:
    return run.job.succeed(1, 1, "w1", "done", run.facts)


def _fail(run: _Run) -> Verdict:
    return run.job.fail(1, 1, "w1", TaskError("transient", "try again"), run.facts)


def _break(run: _Run) -> Verdict:
    return run.job.fail(1, 1, "w1", TaskError("permanent", "broken"), run.facts)


def _expire(run: _Run) -> None:
    run.seconds += 3600
    run.job.expire(run.facts)


def _end_child(run: _Run, outcome: str) -> None:
    for live in run.job.activations.values():
        run.job.child_ended(live.id, getattr(live, "child", ""), outcome, "done", None, run.facts)
        return


def _wake(run: _Run) -> None:
    for effect in run.job.outstanding():
        run.job.wake(getattr(effect, "name", ""), run.facts)


def _quarantining() -> _Run:
    return _Run(quarantine=["permanent"])


COMMANDS: Final[dict[str, _Command]] = {
    "release": lambda run: run.job.release(1, run.facts),
    "take": lambda run: run.job.take(1, "w1", _LEASE, run.facts),
    "claim": _claim,
    "claim by another worker": lambda run: run.job.claim(1, 1, "w2", _LEASE, run.facts),
    "renew, a second later": lambda run: run.job.renew(1, 1, "w1", _LEASE + timedelta(seconds=1), run.facts),
    "give back": lambda run: run.job.give_back(1, 1, "w1", run.facts),
    "progress": lambda run: run.job.progress(1, 1, "w1", 0.5, "half", run.facts),
    "succeed": _succeed,
    "succeed by another worker": lambda run: run.job.succeed(1, 1, "w2", "done", run.facts),
    "succeed in another attempt": lambda run: run.job.succeed(1, 7, "w1", "done", run.facts),
    "fail (transient)": _fail,
    "fail (permanent)": _break,
    "fail (cancelled)": lambda run: run.job.fail(1, 1, "w1", TaskError("cancelled", "stopped"), run.facts),
    "expire, an hour later": _expire,
    "wake by its timers": _wake,
    "act": lambda run: run.job.act(1, GoTo("it"), run.facts),
    "handler_failed (permanent)": lambda run: run.job.handler_failed(1, TaskError("permanent"), run.facts),
    "child_ended (succeeded)": lambda run: _end_child(run, "succeeded"),
    "child_ended (failed)": lambda run: _end_child(run, "failed"),
    "signal": lambda run: run.job.signal("it", "hello", run.facts, "client"),
    "approve": lambda run: run.job.approve("yes", run.facts, "client"),
    "pause": lambda run: run.job.pause(run.facts, "client"),
    "resume": lambda run: run.job.resume(run.facts, "client"),
    "cancel": lambda run: run.job.cancel(run.facts, "no need", "client"),
}

SITUATIONS: Final[dict[str, Callable[[], _Run]]] = {
    "a handler is to decide": lambda: _Run({"kind": "state"}).after(),
    "a task is held": lambda: _Run(room=False).after(),
    "a task is released": lambda: _Run().after(),
    "a task is claimed": lambda: _Run().after(_claim),
    "a task was taken": lambda: _Run(room=False).after(COMMANDS["take"]),
    "a task runs": lambda: _Run().after(_start),
    "a task waits for its next attempt": lambda: _Run().after(_fail),
    "an approval is awaited": lambda: _Run({"kind": "wait", "for": "approval", "timeout": 60}).after(),
    "a signal is awaited": lambda: _Run({"kind": "wait", "for": "signal", "timeout": 60}).after(),
    "a delay is to pass": lambda: _Run({"kind": "wait", "for": "timer", "seconds": 60}).after(),
    "a child job runs": lambda: _Run({"kind": "subflow", "workflow": "other"}).after(),
    "paused while a task is claimed": lambda: _Run().after(_claim, COMMANDS["pause"]),
    "a task runs in a job that permanent errors quarantine": lambda: _quarantining().after(_start),
    "succeeded": lambda: _Run().after(_succeed),
    "failed": lambda: _Run().after(_break),
    "timed out": lambda: _Run().after(_expire),
    "cancelled": lambda: _Run().after(COMMANDS["cancel"]),
    "quarantined": lambda: _quarantining().after(_break),
}


class Transition(NamedTuple):
    """What one command did in one situation: `answer` is a verdict, "" or why it was refused."""

    situation: str
    before: Status
    command: str
    answer: str
    events: tuple[str, ...]
    after: Status


def transitions() -> Iterator[Transition]:
    """Every command in every situation."""
    for situation, build in SITUATIONS.items():
        for name, command in COMMANDS.items():
            run = build()
            before = run.job.status
            try:
                verdict = command(run)
                answer = "" if verdict is None else verdict.reason or "accepted"
            except DomainError as refused:
                answer = f"refused ({refused.code})"
            happened = tuple(type(event).__name__ for event in run.job.collect_events())
            yield Transition(situation, before, name, answer, happened, run.job.status)


def lifecycle() -> str:
    """The page."""
    table = list(transitions())
    parts = [_HEAD, *_statuses(), *_diagram(table), *_situations(table), *_events(), *_effects(), *_bounds()]
    return "\n".join(parts) + "\n"


_HEAD: Final = """\
# The life of a job

Printed by `python -m shared.domain.lifecycle` from the domain itself; a test holds this page to that.

A command has three answers: it happened (events), it had happened (no events), it cannot (refused). Giving a
command twice has no second effect. A worker's report is answered with a verdict: accepted, or why it is
ignored (stale, late, foreign, finished, cancelled)."""


def _statuses() -> Iterator[str]:
    yield "\n## Statuses\n\n| status | means | final |\n|---|---|---|"
    for status, meaning in MEANINGS.items():
        yield f"| `{status}` | {meaning} | {'yes' if status in FINAL else ''} |"


def _diagram(table: list[Transition]) -> Iterator[str]:
    yield "\n## Transitions\n\nBy one command, in a job of one node.\n\n```mermaid\nstateDiagram-v2"
    moved = [row for row in table if row.before != row.after]
    yield from (
        f"    [*] --> {status}" for status in ("pending", "queued", "waiting_signal", "waiting_children")
    )
    yield from dict.fromkeys(f"    {row.before} --> {row.after}" for row in moved)
    yield from (f"    {status} --> [*]" for status in MEANINGS if status in FINAL)
    yield "```"


def _situations(table: list[Transition]) -> Iterator[str]:
    yield "\n## Every command in every situation"
    for situation in SITUATIONS:
        rows = [row for row in table if row.situation == situation]
        yield f"\n### {situation.capitalize()} (`{rows[0].before}`)\n"
        yield "| command | answer | events | then |\n|---|---|---|---|"
        alike: dict[tuple[str, str, str], list[str]] = {}
        for row in rows:
            then = "" if row.after == row.before else f"`{row.after}`"
            alike.setdefault((row.answer, ", ".join(row.events), then), []).append(row.command)
        for (answer, events, then), commands in alike.items():
            yield f"| {'; '.join(commands)} | {answer} | {events} | {then} |"


def _events() -> Iterator[str]:
    yield "\n## Events\n\nTimes are microseconds since the epoch. Fields with a default may be missing.\n"
    yield "| event | means | fields |\n|---|---|---|"
    for event in (*JOB_EVENTS, *NODE_EVENTS):
        yield f"| `{event.__name__}` | {_meaning(event)} | {', '.join(_fields(event))} |"


def _effects() -> Iterator[str]:
    yield "\n## What the world owes a job\n\nDerived from its state, so that a crash loses nothing.\n"
    yield "| effect | means |\n|---|---|"
    for effect in Effect.__args__:
        yield f"| `{effect.__name__}` | {_meaning(effect)} |"


def _bounds() -> Iterator[str]:
    yield "\n## Retries and bounds\n"
    yield f"{_meaning(RetryPolicy.wait_before)}\n"
    defaults = ", ".join(f"`{field.name}` {field.default!r}" for field in fields(RetryPolicy))
    yield f"Defaults of a retry policy: {defaults}.\n"
    yield "| bound | value | then |\n|---|---|---|"
    for bound, value, then in (
        ("nodes of a graph", MAX_NODES, "it is refused"),
        ("edges of a graph", MAX_EDGES, "it is refused"),
        ("nodes that a job enters (`max_transitions` of its graph)", MAX_TRANSITIONS, "`transition_bound`"),
        ("iterations of a loop (`max_iterations`)", DEFAULT_MAX_ITERATIONS, "`loop_bound`"),
        ("forks, loops and scopes inside each other", MAX_NESTING, "`nesting_bound`"),
        ("jobs inside each other (`max_depth`)", MAX_DEPTH, "`depth_bound`"),
        ("ignored reports that are recorded of a job", MOST_IGNORED_RECORDED, "they are answered only"),
    ):
        yield f"| {bound} | {value} | {then} |"


def _meaning(documented: object) -> str:
    return " ".join((inspect.getdoc(documented) or "").split())


def _fields(event: type[AggregateEvent]) -> Iterator[str]:
    head = {field.name for field in fields(AggregateEvent)} | {"originator_topic"}
    for field in fields(event):
        if field.name not in head:
            yield f"`{field.name}`" if field.default is MISSING else f"`{field.name}`={field.default!r}"


if __name__ == "__main__":
    sys.stdout.write(lifecycle())  # pragma: no cover (the page is the test's)
