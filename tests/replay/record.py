"""Tells stories to the domain and keeps their commits as the journal stores them, for ever.

    python -m tests.replay.record          writes the histories that are not there yet

A history is never rewritten: what was stored once must fold to the same state by all later versions.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from uuid import uuid5

from eventsourcing.domain import Aggregate

from shared.application.ports import Decision
from shared.domain.job import (
    AwaitApproval,
    Dispatch,
    GoTo,
    Job,
    Parallel,
    RunWorkflow,
    TaskError,
    TaskSpec,
)
from shared.domain.schedule import Timetable
from shared.domain.topics import AGGREGATES, EVENTS
from shared.domain.values import Json
from shared.domain.worker import Worker
from shared.domain.workflow import Workflow
from shared.journal.chain import tip_of
from shared.journal.codec import Codec
from tests.unit.domain.given import BROKEN, FLAKY, ID, LEASE, NOON, Story, edge, graph, task

HISTORIES: Final = Path(__file__).parent / "histories"
CODEC: Final = Codec(EVENTS, AGGREGATES)


class Record:
    """The commits of one aggregate, one `keep` a decision."""

    def __init__(self, kind: str, aggregate: Aggregate) -> None:
        self.kind, self.aggregate = kind, aggregate
        self.commits: list[dict[str, Any]] = []
        self._tip: bytes | None = None

    def keep(self, by: str = "client:a") -> "Record":
        """What has happened since is one decision."""
        events = list(self.aggregate.collect_events())
        decision = Decision(self.kind, self.aggregate.id, events, by, self._tip)  # type: ignore[arg-type]
        for commit in CODEC.encode(decision):
            self.commits.append({"subject": commit.subject, "body": commit.raw.decode()})
            self._tip = tip_of(commit.raw)
        return self


def state_of(aggregate: Aggregate) -> dict[str, Any]:
    """What a history must fold to, in words that outlive the classes."""
    state: dict[str, Any] = {"version": aggregate.version}
    match aggregate:
        case Job():
            state |= {
                "status": str(aggregate.status),
                "output": aggregate.output,
                "error": aggregate.error,
                "context": aggregate.context,
                "nodes": aggregate.outputs,
                "tasks": {
                    str(one.id): [one.node, one.skill, one.attempt, one.status, one.worker]
                    for one in aggregate.tasks.values()
                },
                "waits": sorted(live.node for live in aggregate.activations.values()),
                "outstanding": sorted(type(effect).__name__ for effect in aggregate.outstanding()),
                "next_due": aggregate.next_due,
            }
        case Workflow():
            state |= {
                "name": aggregate.name,
                "versions": [[one.version, one.definition] for one in aggregate.versions],
                "deleted": aggregate.is_deleted,
            }
        case Worker():
            state |= {"name": aggregate.name, "status": aggregate.status, "skills": aggregate.skills}
        case Timetable():
            state |= {
                name: [str(one.id), str(one.since), one.catch_up, str(one.next_after(NOON))]
                for name, one in aggregate.schedules().items()
            }
        case _:
            raise AssertionError(aggregate)
    return state


def _told(story: Story, *steps: Callable[[], object]) -> Record:
    record = Record("job", story.job).keep("client:a")
    for step in steps:
        step()
        record.keep("system:dispatcher")
    return record


def _one_step() -> Record:
    story = Story(
        graph({"a": task("resize")}), {"url": "u"}, tags={"k": "v"}, tenant="acme", trace="00-1-2-01"
    )
    return _told(story, lambda: story.done("a", {"ok": True}))


def _retries() -> Record:
    story = Story(
        graph({"a": task("resize")}), 1, retry={"max_attempts": 3, "jitter": 0}, dispatch_timeout=30
    )
    job = story.job

    def lose() -> None:
        story.seconds = 200
        job.expire(story.facts)

    return _told(
        story,
        lambda: story.fails("a", FLAKY),
        lambda: job.wake("retry-1-2", story.facts),
        lambda: job.claim(1, 2, "w2", LEASE, story.facts),
        lambda: job.progress(1, 2, "w2", 0.5, "half", story.facts),
        lambda: job.renew(1, 2, "w2", LEASE * 2, story.facts),
        lose,
        lambda: job.succeed(1, 2, "w2", "late", story.facts),
        lambda: job.wake("retry-1-3", story.facts),
        lambda: job.succeed(1, 3, "w3", "at last", story.facts, started_at=5),
    )


def _forked() -> Record:
    nodes: dict[str, Json] = {
        "start": {"kind": "start"},
        "f": {"kind": "fork"},
        "a": task("x"),
        "b": task("y"),
        "r": {"kind": "route", "cases": [{"when": "false", "port": "on"}]},
        "s": {"kind": "subflow", "workflow": "other", "input": {"n": 1}},
        "j": {"kind": "join", "wait": 2, "merge": "list"},
        "end": {"kind": "end"},
    }
    edges = [edge("start", "f"), edge("f", "a"), edge("f", "b"), edge("f", "r"), edge("f", "s")]
    edges += [edge("a", "j"), edge("b", "j"), edge("r", "j", "on"), edge("s", "j"), edge("j", "end")]
    story = Story(graph(nodes, *edges))
    return _told(story, lambda: story.done("b", 2), lambda: story.done("a", 1))


def _looped() -> Record:
    nodes: dict[str, Json] = {
        "loop": {"kind": "loop", "over": [1, 2, 3], "failures": "collect", "width": 2},
        "body": task(),
        "set": {"kind": "inline", "set": {"seen": {"cel": "last"}}},
    }
    story = Story(graph(nodes, edge("loop", "body", "body"), edge("body", "loop"), edge("loop", "set")))
    job = story.job
    return _told(
        story,
        lambda: job.fail(1, 1, "w", BROKEN, story.facts),
        lambda: job.succeed(3, 1, "w", "c", story.facts),
        lambda: job.succeed(2, 1, "w", "b", story.facts),
    )


def _scoped() -> Record:
    nodes: dict[str, Json] = {
        "scope": {"kind": "scope"},
        "body": task(),
        "catch": task(),
        "finally": task(),
    }
    edges = [edge("scope", port, port) for port in ("body", "catch", "finally")]
    story = Story(graph(nodes, *edges, *[edge(port, "scope") for port in ("body", "catch", "finally")]))
    return _told(
        story,
        lambda: story.fails("body"),
        lambda: story.done("catch", "saved"),
        lambda: story.done("finally"),
    )


def _waited() -> Record:
    nodes: dict[str, Json] = {
        "ok": {"kind": "wait", "for": "approval", "decisions": ["yes"], "timeout": 50, "message": "go?"},
        "go": {"kind": "wait", "for": "signal"},
        "nap": {"kind": "wait", "for": "timer", "seconds": 5},
        "s": {"kind": "subflow", "workflow": "other", "version": 2},
    }
    story = Story(graph(nodes, edge("ok", "go", "yes"), edge("go", "nap"), edge("nap", "s")))
    job = story.job
    return _told(
        story,
        lambda: job.approve("yes", story.facts, "client:b"),
        lambda: job.signal("go", {"n": 1}, story.facts, "client:b"),
        lambda: job.wake("wait-3", story.facts),
        lambda: job.child_ended(4, str(uuid5(ID, "child-4")), "succeeded", 5, None, story.facts),
    )


def _handled() -> Record:
    nodes: dict[str, Json] = {"one": {"kind": "state"}, "two": {"kind": "state"}, "end": {"kind": "end"}}
    story = Story(graph(nodes, entry="one"), retry={"max_attempts": 2})
    job = story.job
    return _told(
        story,
        lambda: job.handler_failed(1, FLAKY, story.facts, 1),
        lambda: job.act(1, Dispatch(TaskSpec("s", 1), {"success": "two"}, {"k": 1}), story.facts),
        lambda: story.done("one", 2),
        lambda: job.act(3, Parallel((TaskSpec("s"), TaskSpec("t")), "one"), story.facts),
        lambda: job.succeed(2, 1, "w", 3, story.facts),
        lambda: job.fail(3, 1, "w", BROKEN, story.facts),
        lambda: job.act(job.last_activation, AwaitApproval("ok", {"yes": "two"}), story.facts),
        lambda: job.approve("yes", story.facts),
        lambda: job.act(job.last_activation, RunWorkflow("other", {"success": "two"}), story.facts),
        lambda: job.child_ended(
            job.last_activation,
            str(uuid5(ID, f"child-{job.last_activation}")),
            "succeeded",
            1,
            None,
            story.facts,
        ),
        lambda: job.act(job.last_activation, GoTo("end", payload="over"), story.facts),
    )


def _held() -> Record:
    story = Story(graph({"a": task(), "b": task()}, edge("a", "b")), concurrency={"key": "k", "limit": 1})
    job = story.job
    return _told(
        story,
        lambda: job.release(1, story.facts),
        lambda: job.pause(story.facts, "client:b"),
        lambda: story.done("a", 1),
        lambda: job.resume(story.facts, "client:b"),
    )


def _cancelled() -> Record:
    story = Story(graph({"a": task()}))
    job = story.job
    return _told(
        story,
        lambda: job.cancel(story.facts, "no need", "client:b"),
        lambda: job.succeed(1, 1, "w1", 1, story.facts),
    )


def _emitted() -> Record:
    story = Story(graph({"a": task()}))
    job = story.job
    return _told(
        story,
        lambda: job.emit(1, 1, "w1", "half_way", {"at": 5}, story.facts, id="e1"),
        lambda: job.succeed(1, 1, "w1", 1, story.facts),
    )


def _ended(error: TaskError, **retry: Json) -> Record:
    story = Story(graph({"a": task()}), retry={"max_attempts": 1, **retry})
    return _told(story, lambda: story.fails("a", error))


def _workflow() -> Record:
    workflow = Workflow.named("acme", "resize", NOON)
    workflow.publish({"nodes": {"a": task()}}, now=NOON, origin="canvas", source="<xml/>")
    record = Record("workflow", workflow).keep()
    workflow.publish({"nodes": {"b": task()}}, now=NOON)
    record.keep()
    workflow.delete(now=NOON, by="client:a")
    return record.keep()


def _worker() -> Record:
    worker = Worker.named("w1", NOON)
    worker.register(now=NOON, skills=["resize"], concurrency=2, labels={"net": "lan"}, instance="i1")
    record = Record("worker", worker).keep("worker:w1")
    worker.register(now=NOON, skills=["resize", "crop"], concurrency=2, instance="i1")
    record.keep("worker:w1")
    worker.drain(now=NOON)
    record.keep("worker:w1")
    worker.leave(now=NOON)
    record.keep("worker:w1")
    worker.register(now=NOON, skills=["crop"], instance="i2")
    record.keep("worker:w1")
    worker.lose(now=NOON)
    return record.keep("system:dispatcher")


def _timetable() -> Record:
    timetable = Timetable.named("default", "file", NOON)
    nightly: dict[str, Json] = {
        "when": {"at": "02:00", "weekdays": ["mon"], "dates": [1]},
        "zone": "Europe/Berlin",
        "catch_up": "skip",
        "job": {"workflow": "backup", "input": {"to": "disk"}},
    }
    timetable.publish({"nightly": nightly}, now=NOON)
    record = Record("timetable", timetable).keep("system:scheduler")
    often: dict[str, Json] = {"when": {"every": 60}, "zone": "UTC", "catch_up": "once", "job": {}}
    timetable.publish({"nightly": nightly, "often": often}, now=NOON)
    return record.keep("system:scheduler")


def _given_back() -> Record:
    story = Story(graph({"a": task()}), retry=None)
    record = Record("job", story.job).keep()
    story.job.claim(1, 1, "w1", LEASE, story.facts, ahead=True)
    record.keep("worker:w1")
    story.job.give_back(1, 1, "w1", story.facts)
    record.keep("worker:w1")
    story.job.claim(1, 1, "w2", LEASE, story.facts, ahead=True)
    record.keep("worker:w2")
    story.seconds = 60
    story.job.expire(story.facts)
    record.keep("system:scheduler")
    story.job.succeed(1, 1, "w1", 5, story.facts)
    return record.keep("worker:w1")


STORIES: Final[dict[str, Callable[[], Record]]] = {
    "one_step": _one_step,
    "retries_and_a_lost_lease": _retries,
    "fork_and_join": _forked,
    "loop": _looped,
    "scope": _scoped,
    "waits_and_a_child": _waited,
    "handlers": _handled,
    "held_and_paused": _held,
    "cancelled": _cancelled,
    "emitted": _emitted,
    "given_back": _given_back,
    "failed": lambda: _ended(BROKEN),
    "timed_out": lambda: _ended(TaskError("timeout", "too long")),
    "quarantined": lambda: _ended(BROKEN, quarantine=["permanent"]),
    "workflow": _workflow,
    "worker": _worker,
    "timetable": _timetable,
}


def main() -> None:
    for name, tell in STORIES.items():
        path = HISTORIES / f"{name}.json"
        if not path.exists():
            record = tell()
            history = {"kind": record.kind, "commits": record.commits, "state": state_of(record.aggregate)}
            path.write_text(json.dumps(history, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
