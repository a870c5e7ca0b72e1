"""What must hold after every run, each rule a function over the journal and the ledgers.

A rule answers the violations that it found; none means that it holds. The codes I1 … I11 name the invariants
of docs/faults.md. A rule is only worth something if it can fail: test_checks.py plants a violation for each.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from uuid import UUID

from shared.broker.subjects import TAKEN
from tests.faults.evidence import Evidence, Violation
from tests.faults.executions import by_attempt
from tests.faults.history import TERMINAL, Event, History

ENDS = {
    "succeeded": "JobSucceeded",
    "failed": "JobFailed",
    "timed_out": "JobTimedOut",
    "cancelled": "JobCancelled",
}
RESULTS = ("TaskSucceeded", "TaskFailed")


def no_acknowledged_job_is_lost(evidence: Evidence) -> list[Violation]:
    """I1: each job that the client holds an acknowledgement for begins with its JobAccepted."""
    return [
        Violation(
            "no_acknowledged_job_is_lost", str(job), f"acknowledged for {entry.order.key}, not in the journal"
        )
        for job, entry in evidence.ledger.acknowledged_jobs.items()
        if not (events := evidence.history.jobs.get(job)) or events[0].topic != "JobAccepted"
    ]


def every_order_is_acknowledged(evidence: Evidence) -> list[Violation]:
    """I1, the other side: no order stays without an answer, is refused, or is answered with two ids."""
    rule = "every_order_is_acknowledged"
    return [Violation(rule, "the client", complaint) for complaint in evidence.ledger.complaints] + [
        Violation(rule, entry.order.key, f"no acknowledgement in {entry.tries} tries")
        for entry in evidence.ledger
        if entry.job is None
    ]


def no_job_is_made_twice(evidence: Evidence) -> list[Violation]:
    """I2: repeating an order with its key makes no second job: each job without a parent was ordered."""
    if not evidence.ledger.entries:
        return []
    ordered = evidence.ledger.acknowledged_jobs
    return [
        Violation("no_job_is_made_twice", str(job), "nobody holds an acknowledgement for it")
        for job, event in evidence.history.each("JobAccepted")
        if job not in ordered and not event.fields.get("parent")
    ]


def every_job_ends(evidence: Evidence) -> list[Violation]:
    """I6: after the quiet period no job is open."""
    return [
        Violation("every_job_ends", str(job), f"its last event is {evidence.history.jobs[job][-1].topic}")
        for job in evidence.history.unfinished
    ]


def no_job_ends_twice(evidence: Evidence) -> list[Violation]:
    """I2: a job has one terminal event at most."""
    return [
        Violation(
            "no_job_ends_twice", str(job), ", ".join(f"{end.topic} at version {end.version}" for end in ends)
        )
        for job, ends in evidence.history.ends.items()
        if len(ends) > 1
    ]


def nothing_follows_the_end(evidence: Evidence) -> list[Violation]:
    """I2: behind the terminal event stands nothing but ignored reports."""
    found = []
    for job, events in evidence.history.jobs.items():
        ended = False
        for event in events:
            if ended and event.topic != "ReportIgnored" and event.topic not in TERMINAL:
                found.append(Violation("nothing_follows_the_end", str(job), _place(event)))
            ended = ended or event.topic in TERMINAL
    return found


def children_end_with_their_parents(evidence: Evidence) -> list[Violation]:
    """I6: a child that is open when its parent ends is cancelled; nobody waits for it any more."""
    found = []
    for job, event in evidence.history.each("JobAccepted"):
        parent = event.fields.get("parent")
        if not parent:
            continue
        over = evidence.history.ends.get(UUID(parent["job"]), ())[:1]
        for end in evidence.history.ends[job][:1]:
            if over and end.sequence > over[0].sequence and end.topic != "JobCancelled":
                why = f"{end.topic} after {over[0].topic} of its parent {parent['job']}"
                found.append(Violation("children_end_with_their_parents", str(job), why))
    return found


def every_job_ends_as_ordered(evidence: Evidence) -> list[Violation]:
    """The answer is right: status and output are those that the order's author worked out beforehand."""
    found = []
    for job, entry in evidence.ledger.acknowledged_jobs.items():
        for end in evidence.history.ends.get(job, ())[:1]:
            wanted = ENDS[entry.order.status]
            if end.topic != wanted:
                why = f"{end.topic} instead of {wanted}: {dict(end.fields)}"
                found.append(Violation("every_job_ends_as_ordered", str(job), why))
            elif wanted == "JobSucceeded" and end.fields.get("output") != entry.order.output:
                why = f"{end.fields.get('output')} instead of {entry.order.output}"
                found.append(Violation("every_job_ends_as_ordered", str(job), why))
    return found


def history_is_whole(evidence: Evidence) -> list[Violation]:
    """I4: every message is a commit, subject and body agree, and the versions of an aggregate have no gap."""
    rule = "history_is_whole"
    found = [Violation(rule, "the stream", why) for why in evidence.history.malformed]
    sequences = [commit.sequence for commit in evidence.history.commits]
    if not evidence.history.malformed and sequences != list(range(1, len(sequences) + 1)):
        missing = sorted(set(range(1, max(sequences) + 1)) - set(sequences))
        found.append(Violation(rule, "the stream", f"messages are missing: {missing[:10]}"))
    for (kind, id_), commits in evidence.history.aggregates.items():
        expected = 1
        for commit in commits:
            said = (commit.body["kind"], UUID(commit.body["id"]), int(commit.body["n"]))
            if said != (kind, id_, commit.n):
                found.append(
                    Violation(rule, f"{kind} {id_}", f"message {commit.sequence} says {said} of itself")
                )
            if commit.n != expected:
                why = f"message {commit.sequence} has version {commit.n}, expected {expected}"
                found.append(Violation(rule, f"{kind} {id_}", why))
            expected = commit.n + len(commit.events)
    return found


def chains_hold(evidence: Evidence) -> list[Violation]:
    """I4: `prev` of each commit is the SHA-256 of the stored bytes of the aggregate's commit before it."""
    found = []
    for (kind, id_), commits in evidence.history.aggregates.items():
        before: str | None = None
        for commit in commits:
            if commit.body["prev"] != before:
                why = f"version {commit.n} (message {commit.sequence}) does not follow from the one before"
                found.append(Violation("chains_hold", f"{kind} {id_}", why))
            before = commit.digest
    return found


def releases_feed_their_queue(evidence: Evidence) -> list[Violation]:
    """I7: a commit is on a skill's subject exactly if its last event, and no other, releases to a queue.

    What is taken is on the subject of no queue, and its claim stands behind it in the same commit.
    """
    rule = "releases_feed_their_queue"
    found = []
    for commit in evidence.history.commits:
        topics = [event.topic for event in commit.events]
        if commit.skill == TAKEN:
            if not _is_claimed_at_once(commit.events):
                found.append(Violation(rule, str(commit.id), f"message {commit.sequence} gives nothing away"))
            continue
        released = topics.count("TaskReleased")
        if commit.skill is None and released:
            found.append(
                Violation(rule, str(commit.id), f"message {commit.sequence} releases a task to no queue")
            )
        if commit.skill is not None and (released != 1 or topics[-1] != "TaskReleased"):
            found.append(
                Violation(rule, str(commit.id), f"message {commit.sequence} on a queue holds {topics}")
            )
    return found


def _is_claimed_at_once(events: Sequence[Event]) -> bool:
    """Whether each task that is taken is claimed by the event behind its release, and one is."""
    taken = [
        i for i, event in enumerate(events) if event.topic == "TaskReleased" and event.fields.get("taken")
    ]
    behind = [events[index + 1] for index in taken if index + 1 < len(events)]
    return bool(taken) and [event.topic for event in behind] == ["TaskClaimed"] * len(taken)


def no_attempt_is_released_twice(evidence: Evidence) -> list[Violation]:
    """I3: the attempt number fences: each is given out once, and those of one task only count up.

    One that came back and is offered again is given out again.
    """
    found = []
    for job, events in evidence.history.jobs.items():
        last: dict[int, int] = {}
        for event in events:
            if event.topic == "TaskReturned" and (event.fields.get("offered") or event.fields.get("lapsed")):
                last[event.task or 0] = event.attempt - 1
            if event.topic == "TaskReleased" and event.task is not None:
                if event.attempt <= last.get(event.task, 0):
                    found.append(Violation("no_attempt_is_released_twice", str(job), _place(event)))
                last[event.task] = event.attempt
    return found


def results_belong_to_released_attempts(evidence: Evidence) -> list[Violation]:
    """I3: a result is accepted once, and only for the attempt that is out."""
    rule = "results_belong_to_released_attempts"
    found = []
    for job, events in evidence.history.jobs.items():
        out: dict[int, int] = {}
        for event in events:
            if event.task is None:
                continue
            if event.topic == "TaskReleased":
                out[event.task] = event.attempt
            elif event.topic in RESULTS and out.pop(event.task, None) != event.attempt:
                found.append(Violation(rule, str(job), _place(event)))
            elif event.topic in ("TaskTimedOut", "TaskCancelled"):
                out.pop(event.task, None)
    return found


def results_come_from_runs(evidence: Evidence) -> list[Violation]:
    """I3: a worker ran each attempt whose result was accepted, and none that was never released."""
    rule = "results_come_from_runs"
    if not evidence.executions:
        return []
    ran = by_attempt(evidence.executions)
    released = _attempts(evidence.history, "TaskReleased")
    accepted = _attempts(evidence.history, *RESULTS)
    return [
        Violation(rule, _attempt(of), "accepted, but no worker ran it") for of in accepted - ran.keys()
    ] + [Violation(rule, _attempt(of), "run, but never released") for of in ran.keys() - released]


def runs_again_only_after_a_kill(evidence: Evidence) -> list[Violation]:
    """I3: an attempt runs once; again only if a kill between the two starts could bring it back."""
    found = []
    strikes = [kill for kill in evidence.kills if kill.role.removeprefix("stalled ") in evidence.redelivering]
    for of, runs in by_attempt(evidence.executions).items():
        for first, second in pairwise(runs):
            if not any(strike.could_bring_back(first.started_us, second.started_us) for strike in strikes):
                apart = (second.started_us - first.started_us) / 1e6
                why = f"{first.worker} and {second.worker} ran it {apart:.3f} s apart without a kill between"
                found.append(Violation("runs_again_only_after_a_kill", _attempt(of), why))
    return found


def nothing_runs_after_the_end(evidence: Evidence) -> list[Violation]:
    """I3: no task starts once its job has ended, but for what was on its way (2 s is a guess)."""
    found = []
    for run in evidence.executions:
        for end in evidence.history.ends.get(run.job, ())[:1]:
            if run.started_us > end.at + 2_000_000:
                late = (run.started_us - end.at) / 1e6
                why = f"{run.worker} started it {late:.1f} s after {end.topic}"
                found.append(Violation("nothing_runs_after_the_end", _attempt(run.of), why))
    return found


def queues_are_empty(evidence: Evidence) -> list[Violation]:
    """I7: the queues hold the open tasks and nothing else; after the quiet period there is none."""
    return [
        Violation("queues_are_empty", queue, f"{count} messages wait or are unacknowledged")
        for queue, count in evidence.waiting.items()
        if count
    ]


def read_model_equals_a_rebuild(evidence: Evidence) -> list[Violation]:
    """I5: the rows that were served are those that a replay from the first commit gives."""
    rule = "read_model_equals_a_rebuild"
    found = []
    if evidence.served != evidence.rebuilt:
        why = f"served {evidence.served}, rebuilt {evidence.rebuilt}"
        found.append(Violation(rule, "the read model", why))
    if evidence.poisoned:
        found.append(Violation(rule, "the read model", f"{evidence.poisoned} commits cannot become rows"))
    return found


def nothing_is_left_running(evidence: Evidence) -> list[Violation]:
    """No process of the system outlives it."""
    return [Violation("nothing_is_left_running", "a process", orphan) for orphan in evidence.orphans]


def every_role_was_hit(evidence: Evidence) -> list[Violation]:
    """I11: a fault that was never injected proves nothing."""
    hit = Counter(kill.role for kill in evidence.kills)
    return [
        Violation("every_role_was_hit", role, "was never killed")
        for role in evidence.expected_roles
        if not hit[role]
    ]


Rule = Callable[[Evidence], list[Violation]]
RULES: tuple[Rule, ...] = (
    no_acknowledged_job_is_lost,
    every_order_is_acknowledged,
    no_job_is_made_twice,
    every_job_ends,
    no_job_ends_twice,
    nothing_follows_the_end,
    children_end_with_their_parents,
    every_job_ends_as_ordered,
    history_is_whole,
    chains_hold,
    releases_feed_their_queue,
    no_attempt_is_released_twice,
    results_belong_to_released_attempts,
    results_come_from_runs,
    runs_again_only_after_a_kill,
    nothing_runs_after_the_end,
    queues_are_empty,
    read_model_equals_a_rebuild,
    nothing_is_left_running,
    every_role_was_hit,
)


def violations(evidence: Evidence) -> list[Violation]:
    """All that every rule found."""
    return [violation for rule in RULES for violation in rule(evidence)]


def _attempts(history: History, *topics: str) -> set[tuple[UUID, int, int]]:
    events = history.each(*topics)
    return {(job, event.task, event.attempt) for job, event in events if event.task is not None}


def _place(event: Event) -> str:
    which = "" if event.task is None else f" of task {event.task} attempt {event.attempt}"
    return f"{event.topic}{which} at version {event.version}"


def _attempt(of: tuple[UUID, int, int]) -> str:
    return f"job {of[0]} task {of[1]} attempt {of[2]}"
