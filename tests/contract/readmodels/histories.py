"""Histories of jobs as stored commits, made from a seed: every event a job can have, in a possible order."""

import random
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from uuid import UUID, uuid5

from shared.application.ports import StoredCommit

START = 1_763_697_600_000_000
NAMES = UUID("00000000-0000-4000-8000-000000000001")
TENANTS = ("acme", "default")
Events = list[tuple[str, dict[str, Any]]]


def job_id(name: object) -> UUID:
    return uuid5(NAMES, f"job-{name}")


def commit(
    sequence: int,
    id_: UUID,
    n: int,
    events: Events,
    *,
    kind: str = "job",
    at: int | None = None,
    raw: bytes = b"{}",
) -> StoredCommit:
    return StoredCommit(
        sequence=sequence,
        kind=kind,
        id=id_,
        n=n,
        at=START + sequence * 1000 if at is None else at,
        by="test",
        events=events,
        raw=raw,
    )


def one_step(first: int, name: object, **fields: Any) -> list[StoredCommit]:
    """A job of one task that succeeds: two commits, `first` and `first` + 1."""
    id_ = job_id(name)
    spec = {"skill": "resize", "tenant": "default", "input": {"of": str(name)}} | fields
    task = {"task": 1, "skill": "resize", "node": "task", "input": spec["input"]}
    output = {"done": str(name)}
    return [
        commit(first, id_, 1, [("JobAccepted", spec), ("TaskReleased", task)]),
        commit(
            first + 1,
            id_,
            3,
            [
                ("TaskSucceeded", {"task": 1, "attempt": 1, "worker": "w1", "output": output}),
                ("JobSucceeded", {"output": output}),
            ],
        ),
    ]


def history(seed: int, jobs: int = 20) -> list[StoredCommit]:
    """Commits of jobs, workers and workflows, interleaved; some sequences are missing, as in a stream."""
    chance = random.Random(seed)
    stories = [_story(chance, job_id(f"{seed}-{number}"), number) for number in range(jobs)]
    stories += [_worker(f"w{number}") for number in range(2)]
    stories.append(_workflow("convert"))
    commits: list[StoredCommit] = []
    versions: dict[UUID, int] = {}
    sequence = 0
    while stories:
        story = chance.choice(stories)
        step = next(story, None)
        if step is None:
            stories.remove(story)
            continue
        kind, id_, events = step
        sequence += chance.choice((1, 1, 1, 3))
        n = versions.get(id_, 1)
        versions[id_] = n + len(events)
        # Clocks of deciding processes differ a little: creation times are not in the order of the stream.
        at = START + sequence * 1000 + chance.randrange(-3000, 3000)
        commits.append(commit(sequence, id_, n, events, kind=kind, at=at, raw=b"%d" % sequence))
    return commits


Step = tuple[str, UUID, Events]


def _story(chance: random.Random, id_: UUID, number: int) -> Iterator[Step]:
    whole = chance.random() < 0.3
    for events in _events(chance, id_, number):
        yield "job", id_, events
        if not whole and chance.random() < 0.08:
            return  # stays open


def _events(chance: random.Random, id_: UUID, number: int) -> Iterator[Events]:
    single = chance.random() < 0.5
    skill = chance.choice(("resize", "ocr", "mail"))
    spec: dict[str, Any] = {
        "tenant": chance.choice(TENANTS),
        "owner": f"client:{number % 3}",
        "definition": "d" * 8,
        "input": {"number": number, "text": "é\n\u2028"},
        "urgency": chance.choice((500, 100)),
    }
    spec |= {"skill": skill} if single else {"workflow": chance.choice(("convert", "notify")), "version": 1}
    if chance.random() < 0.5:
        spec["tags"] = {"env": chance.choice(("prod", "dev")), "n": str(number % 3)}
    if chance.random() < 0.3:
        spec["alias"] = f"order-{number % 4}"
    if chance.random() < 0.3:
        spec["deadline"] = START + chance.randrange(10**9)
    if number and chance.random() < 0.3:
        spec["parent"] = {"job": str(job_id(f"parent-{number % 2}")), "activation": 1}
    accepted: Events = [("JobAccepted", spec)]
    if single:
        yield [*accepted, ("TaskReleased", _task(chance, 1, skill))]
        yield from _task_events(chance, 1, skill)
    else:
        yield accepted
        yield [("NodePassed", {"activation": 1, "node": "start"})]
        width = chance.randrange(1, 4)
        branches = [f"b{number}" for number in range(width)]
        yield [("BranchesForked", {"activation": 2, "node": "fork", "branches": branches})]
        for task in range(1, width + 1):
            yield [("TaskQueued", _task(chance, task, skill))]
        for task in range(1, width + 1):
            yield [("TaskReleased", _task(chance, task, skill))]
            yield from _task_events(chance, task, skill)
        yield from _waits(chance)
    yield [_end(chance)]
    if chance.random() < 0.2:
        ignored = {"task": 1, "attempt": 1, "worker": "w0", "reason": "finished", "kind": "result"}
        yield [("ReportIgnored", ignored)]


def _task(chance: random.Random, number: int, skill: str, attempt: int = 1) -> dict[str, Any]:
    fields: dict[str, Any] = {"task": number, "skill": skill, "input": {"n": number}, "node": f"n{number}"}
    if attempt != 1:
        fields["attempt"] = attempt
    if chance.random() < 0.4:
        fields["dispatch_by"] = START + chance.randrange(10**9)
    if chance.random() < 0.4:
        fields["run_timeout"] = 12.5
    if chance.random() < 0.3:
        fields["limits"] = [{"key": "k", "limit": 3}]
    return fields


def _task_events(chance: random.Random, task: int, skill: str) -> Iterator[Events]:
    attempt = 1
    while True:
        who = {"task": task, "attempt": attempt, "worker": f"w{attempt}"}
        if chance.random() < 0.5:
            yield [("TaskClaimed", {**who, "until": START + chance.randrange(10**9)})]
            if chance.random() < 0.5:
                yield [("TaskProgressed", {**who, "progress": 0.25, "message": "reading"})]
            if chance.random() < 0.5:
                yield [("LeaseRenewed", {**who, "until": START + chance.randrange(10**9)})]
            if chance.random() < 0.2:
                yield [("TaskReturned", {**who, "dispatch_by": START + 5})]
        if attempt < 3 and chance.random() < 0.3:
            error = {"kind": "transient", "message": "try again"}
            if chance.random() < 0.5:
                failed = ("TaskFailed", {**who, "error": error, "started_at": START + task})
            else:
                failed = ("TaskTimedOut", {"task": task, "attempt": attempt, "what": "lease", "error": error})
            attempt += 1
            due = {"task": task, "attempt": attempt, "not_before": START + chance.randrange(10**9)}
            yield [failed, ("TaskRetryScheduled", due)]
            yield [("TaskReleased", _task(chance, task, skill, attempt))]
            continue
        if chance.random() < 0.1:
            yield [("TaskCancelled", {"task": task, "attempt": attempt})]
        else:
            yield [("TaskSucceeded", {**who, "output": {"t": task}, "started_at": START + 7})]
        return


def _waits(chance: random.Random) -> Iterator[Events]:
    awaited = {"activation": 20, "node": "ok", "name": "ok"}
    if chance.random() < 0.4:
        yield [("SignalAwaited", {**awaited, "kind": "approval", "until": START + chance.randrange(10**9)})]
        yield [("JobPaused", {"by": "client:test"})]
        yield [("JobResumed", {"by": "client:test"})]
        yield [("ApprovalReceived", {"activation": 20, "name": "ok", "decision": "yes"})]
    if chance.random() < 0.4:
        child = str(job_id("child"))
        yield [("ChildStarted", {"activation": 21, "node": "sub", "child": child, "workflow": "x"})]
        yield [("ChildEnded", {"activation": 21, "child": child, "outcome": "succeeded"})]
    if chance.random() < 0.4:
        yield [("HandlerAwaited", {"activation": 22, "node": "state", "handler": "h"})]
        yield [("HandlerDecided", {"activation": 22, "action": {}})]


def _end(chance: random.Random) -> tuple[str, dict[str, Any]]:
    error = {"kind": "permanent", "message": "no"}
    ends: Events = [
        ("JobSucceeded", {"output": {"sum": [1, 2.5, None]}}),
        ("JobSucceeded", {}),
        ("JobFailed", {"error": error}),
        ("JobTimedOut", {"error": {"kind": "timeout", "message": "late"}}),
        ("JobQuarantined", {"error": error}),
        ("JobCancelled", {"reason": "not needed", "by": "client:test"}),
    ]
    return chance.choice(ends)


def _worker(name: str) -> Iterator[Step]:
    id_ = uuid5(NAMES, f"worker-{name}")
    registered = {"name": name, "skills": ["resize"], "concurrency": 4, "instance": str(id_)}
    life: Events = [
        ("WorkerRegistered", registered),
        ("WorkerDraining", {}),
        ("WorkerLeft", {}),
        ("WorkerRegistered", registered),
        ("WorkerLost", {}),
    ]
    for event in life:
        yield "worker", id_, [event]


def _workflow(name: str) -> Iterator[Step]:
    id_ = uuid5(NAMES, f"workflow-{name}")
    for version in (1, 2, 3):
        published: dict[str, Any] = {
            "name": name,
            "tenant": "default",
            "version": version,
            "definition": f"hash-{version}",
            "graph": {"nodes": {}},
        }
        yield "workflow", id_, [("WorkflowPublished", published)]
    yield "unheard-of", id_, [("SomethingElse", {})]


def ids_of(commits: Collection[StoredCommit]) -> Mapping[UUID, list[StoredCommit]]:
    """The commits of each job."""
    found: dict[UUID, list[StoredCommit]] = {}
    for each in commits:
        if each.kind == "job":
            found.setdefault(each.id, []).append(each)
    return found
