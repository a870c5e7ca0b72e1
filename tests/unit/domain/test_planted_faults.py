"""The random commands find faults: each of these, planted into the domain, breaks a promise."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from shared.domain.job import (
    Job,
    claim_events,
    claims,
    constructs,
    deadlines,
    effects,
    events,
    job,
    node_events,
    offers,
    wait_events,
    waits,
)
from shared.domain.job.state import Group, JobState, Repetition
from shared.domain.job.walk import Walk
from tests.unit.domain.machine import JobMachine

GO_ON = constructs.go_on
Plant = Callable[[pytest.MonkeyPatch], None]

# The same examples each time, and no shrinking: that a promise breaks is all that is asked.
SEARCH = settings(
    max_examples=1500,
    stateful_step_count=30,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


def replaced(target: Any, name: str, by: Any) -> Plant:
    def plant(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(target, name, by)

    return plant


def nothing(*_: Any, **__: Any) -> None:
    """Instead of something."""


def no_fence(state: JobState, task: int, attempt: int, worker: str) -> str | None:
    known = state.live_tasks.get(task)
    return None if known is not None and known.worker in (None, worker) else "stale"


def no_holder(state: JobState, task: int, attempt: int, worker: str) -> str | None:
    known = state.live_tasks.get(task)
    return None if known is not None and known.attempt == attempt and known.status != "queued" else "stale"


def forgetful_end(state: JobState, status: Any, output: Any = None, error: Any = None) -> None:
    state.ended, state.output, state.error = status, output, error
    state.activations = {}


def too_much(state: JobState) -> list[effects.Effect]:
    return [effects.HeldTask(task.id, task.skill, task.urgency, ()) for task in state.live_tasks.values()]


def eager(group: Group) -> int:
    return 0


def unbounded(walk: Walk, loop: Repetition, last: Any) -> None:
    """`go_on` that starts every iteration at once."""
    if loop.items is None:
        GO_ON(walk, loop, last)
        return
    while loop.next < len(loop.items):
        index = loop.next
        walk.emit(node_events.IterationStarted, activation=loop.id, index=index)
        target = walk.graph.follow(loop.node, "body")
        assert target is not None
        walk.enter(target.node, loop.id, index, loop.items[index])
    if not loop.open:
        constructs.end_loop(walk, loop)


def released_anyway(self: Job, task: int, facts: Any) -> None:
    held = self.tasks.get(task)
    if held is not None and held.status == "queued":
        offers.release(Walk(self, facts), held)


def cancel_again(self: Job, facts: Any, reason: str = "", by: str = "") -> None:
    Walk(self, facts).cancel_tasks()
    self.trigger_event(events.JobCancelled, timestamp=facts.now, reason=reason, by=by)


def claimed_again(self: claim_events.TaskClaimed, state: JobState) -> None:
    state.live_tasks[self.task].until = self.until


FAULTS: dict[str, Plant] = {
    "results are not known to be repeats": replaced(job, "repeats", lambda *_: False),
    "every report counts, whatever its attempt": replaced(job, "objection", no_fence),
    "every report counts, whoever holds the task": replaced(job, "objection", no_holder),
    "ignored reports are recorded again and again": replaced(job, "is_worth_recording", lambda *_: True),
    "an ended job can be cancelled": replaced(Job, "cancel", cancel_again),
    "the end leaves the job alive": replaced(JobState, "end", nothing),
    "the end forgets the children": replaced(JobState, "end", forgetful_end),
    "the end leaves tasks alive": replaced(Walk, "cancel_tasks", nothing),
    "late branches are not given up": replaced(Walk, "give_up", nothing),
    "a join passes at once": replaced(constructs, "_needed", eager),
    "a branch is not counted out when it arrives": replaced(node_events.BranchArrived, "apply", nothing),
    "a loop ignores its width": replaced(constructs, "go_on", unbounded),
    "an iteration is not counted": replaced(node_events.IterationEnded, "apply", nothing),
    "a claim is forgotten": replaced(claim_events.TaskClaimed, "apply", claimed_again),
    "the end of a child wakes nobody": replaced(waits, "child_ended", nothing),
    "what is released is asked for again": replaced(effects, "outstanding", too_much),
    "a timer goes on waiting when it fired": replaced(waits, "wake", nothing),
    "time changes nothing": replaced(job, "expire", nothing),
    "a wait's time is never due": replaced(waits, "time_came", nothing),
    "a pause holds nothing back": replaced(events.JobPaused, "apply", nothing),
    "a paused job releases what it holds": replaced(Job, "release", released_anyway),
    "a decision of a handler is not remembered": replaced(wait_events.HandlerDecided, "apply", nothing),
    "what is given back is in no queue": replaced(offers, "offer_still", nothing),
    "what is taken is not claimed": replaced(claims, "claim", nothing),
    "a lost lease stays lost": replaced(deadlines, "_limits", lambda task: iter(())),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FAULTS[fault](monkeypatch)
    with pytest.raises((AssertionError, KeyError)):  # a promise breaks, or the job itself
        run_state_machine_as_test(JobMachine, settings=SEARCH)
