"""What must hold of a job at any time, told from its events where that is possible."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from shared.domain.graph import Graph
from shared.domain.graph_nodes import Join
from shared.domain.job import CancelChild, HeldTask, Job, RunHandler, StartChild, StartTimer
from shared.domain.job.claim_events import TaskClaimed, TaskReturned
from shared.domain.job.events import (
    TERMINAL,
    JobEvent,
    JobTimedOut,
    TaskQueued,
    TaskReleased,
    TaskTimedOut,
)
from shared.domain.job.state import Group, Region, Repetition
from shared.domain.values import seconds_us, to_us

TERMINALS: Final = {event.__name__ for event in TERMINAL}
MAX_ATTEMPTS: Final = 3


@dataclass
class Told:
    """A job, the graph that it runs, all its events, the job that they fold to, and when time was last told
    (microseconds since the epoch)."""

    job: Job
    graph: Graph
    history: list[JobEvent] = field(default_factory=list)
    shadow: Job | None = None
    swept: int = 0


def the_events_fold_to_the_state(told: Told) -> None:
    assert told.shadow == told.job


def there_is_one_terminal_event_and_only_ignored_reports_behind_it(told: Told) -> None:
    kinds = [type(event).__name__ for event in told.history]
    ends = [index for index, kind in enumerate(kinds) if kind in TERMINALS]
    assert len(ends) <= 1
    assert bool(ends) == told.job.is_ended
    if ends:
        assert set(kinds[ends[0] + 1 :]) <= {"ReportIgnored"}
        assert not told.job.live_tasks
        assert not told.job.activations


def every_open_frame_has_exactly_one_token(told: Told) -> None:
    job = told.job
    tokens: dict[tuple[int, int], int] = {}
    for live in [*job.live_tasks.values(), *job.activations.values()]:
        frame = (live.parent, live.branch)
        tokens[frame] = tokens.get(frame, 0) + 1
    frames = set() if job.is_ended else {(0, 0)}
    for owner in job.activations.values():
        match owner:
            case Group() | Repetition():
                frames |= {(owner.id, branch) for branch in owner.open}
            case Region():
                frames.add((owner.id, owner.stage))
    assert tokens == dict.fromkeys(frames, 1)


def what_is_outstanding_is_what_history_left_open(told: Told) -> None:
    asked = sorted(str(_key(effect)) for effect in told.job.outstanding())
    assert asked == sorted(str(key) for key in left_open(told.history, told.job))


def a_join_is_passed_once_and_not_before_enough_arrived(told: Told) -> None:
    waits: dict[int, tuple[int, int | str, str]] = {}
    arrived: dict[int, set[int]] = {}
    over: dict[int, set[int]] = {}
    for event in told.history:
        fields: Any = event
        match type(event).__name__:
            case "BranchesForked":
                waits[fields.activation] = (len(fields.branches), fields.wait, fields.failures)
                arrived[fields.activation], over[fields.activation] = set(), set()
            case "BranchArrived":
                assert fields.branch not in over[fields.activation], "a branch arrives once"
                over[fields.activation].add(fields.branch)
                if fields.error is None or waits[fields.activation][2] == "collect":
                    arrived[fields.activation].add(fields.branch)
            case "BranchEnded":
                over[fields.activation].add(fields.branch)
            case "JoinPassed":
                count, wait, _ = waits.pop(fields.activation)  # KeyError: passed twice
                needed = {"all": count, "any": 1}.get(str(wait), wait)
                assert isinstance(needed, int)
                here, all_over = len(arrived[fields.activation]), len(over[fields.activation]) == count
                assert here >= needed or all_over
                assert here <= needed or isinstance(told.graph.nodes.get(fields.node), Join)


def loops_keep_their_bounds(told: Told) -> None:
    bounds: dict[int, tuple[int, int]] = {}
    open_now: dict[int, set[int]] = {}
    seen: set[tuple[int, int]] = set()
    for event in told.history:
        fields: Any = event
        match type(event).__name__:
            case "LoopStarted":
                items = fields.items
                most = fields.max_iterations if items is None else len(items)
                bounds[fields.activation] = (most, fields.width)
                open_now[fields.activation] = set()
            case "IterationStarted":
                most, width = bounds[fields.activation]
                assert fields.index < most
                assert (fields.activation, fields.index) not in seen, "an iteration begins once"
                seen.add((fields.activation, fields.index))
                open_now[fields.activation].add(fields.index)
                assert len(open_now[fields.activation]) <= width
            case "IterationEnded":
                open_now[fields.activation].remove(fields.index)


def attempts_are_counted_and_bounded(told: Told) -> None:
    attempts: dict[int, int] = {}
    for event in told.history:
        if type(event).__name__ in ("TaskQueued", "TaskReleased", "TaskRetryScheduled"):
            fields: Any = event
            before = attempts.get(fields.task, 1)
            assert before <= fields.attempt <= before + 1
            attempts[fields.task] = fields.attempt
    assert all(attempt <= MAX_ATTEMPTS for attempt in attempts.values())


def nothing_is_released_while_paused(told: Told) -> None:
    paused = False
    for event in told.history:
        match type(event).__name__:
            case "JobPaused":
                paused = True
            case "JobResumed":
                paused = False
            case "TaskReleased":
                assert not paused


def results_are_of_the_attempt_and_the_worker_that_count(told: Told) -> None:
    attempts: dict[int, int] = {}
    holders: dict[int, str | None] = {}
    lapsed: set[int] = set()
    for event in told.history:
        fields: Any = event
        match type(event).__name__:
            case "TaskQueued" | "TaskReleased" | "TaskRetryScheduled":
                attempts[fields.task], holders[fields.task] = fields.attempt, None
            case "TaskClaimed":
                assert holders[fields.task] is None, "one worker holds a task"
                holders[fields.task] = fields.worker
                assert attempts[fields.task] == fields.attempt
            case "TaskReturned":
                assert holders[fields.task] == fields.worker, "only its holder gives a task back"
                assert not (fields.lapsed and fields.task in lapsed), "that is believed once"
                lapsed |= {fields.task} if fields.lapsed else set()
                assert attempts[fields.task] == fields.attempt
                holders[fields.task] = None
            case "TaskSucceeded" | "TaskFailed" | "LeaseRenewed" | "TaskProgressed":
                assert attempts[fields.task] == fields.attempt
                assert holders[fields.task] in (None, fields.worker)


def what_no_queue_has_is_claimed_by_the_decision_that_releases_it(told: Told) -> None:
    for event, following in pairwise([*told.history, None]):
        if isinstance(event, TaskReleased) and event.taken:
            assert isinstance(following, TaskClaimed)
            assert (following.task, following.timestamp) == (event.task, event.timestamp)
        if isinstance(event, TaskReturned):
            offered = (TaskReleased, TaskQueued, TaskTimedOut, JobTimedOut)
            assert isinstance(following, offered), "what came back is offered again, or is over"


def nothing_overdue_is_left(told: Told) -> None:
    due: dict[tuple[str, int], int] = {}
    run_timeouts: dict[int, float | None] = {}
    claimed: set[int] = set()
    for event in told.history:
        fields: Any = event
        match type(event).__name__:
            case "TaskQueued" | "TaskReleased":
                _forget(due, "task", fields.task)
                claimed.discard(fields.task)
                run_timeouts[fields.task] = fields.run_timeout
                if fields.dispatch_by is not None:
                    due["task", fields.task] = fields.dispatch_by
            case "TaskClaimed":
                claimed.add(fields.task)
                due["task", fields.task] = fields.until
                seconds = run_timeouts[fields.task]
                if seconds is not None:
                    begun = to_us(event.timestamp) if fields.started_at is None else fields.started_at
                    due["run", fields.task] = begun + seconds_us(seconds)
            case "LeaseRenewed":
                due["task", fields.task] = fields.until
            case "TaskReturned":
                _forget(due, "task", fields.task)
                claimed.discard(fields.task)
                if fields.dispatch_by is not None:
                    due["task", fields.task] = fields.dispatch_by
            case "TaskProgressed" if (
                due.get(("task", fields.task)) == told.job.tasks[fields.task].dispatch_by
            ):
                due.pop(("task", fields.task), None)  # it runs, though nobody claimed it
            case "TaskRetryScheduled":
                due["task", fields.task] = fields.not_before
            case "TaskSucceeded" | "TaskFailed" | "TaskTimedOut" | "TaskCancelled":
                _forget(due, "task", fields.task)
            case "SignalAwaited" if fields.until is not None:
                due["node", fields.activation] = fields.until
            case "SignalReceived" | "ApprovalReceived" | "WaitEnded" | "NodeCancelled":
                due.pop(("node", fields.activation), None)
            case kind if kind in TERMINALS:
                due.clear()
    assert all(at > told.swept for at in due.values()), due


def _forget(due: dict[tuple[str, int], int], kind: str, number: int) -> None:
    due.pop((kind, number), None)
    due.pop(("run", number), None)


PROMISES: Final[tuple[Callable[[Told], None], ...]] = (
    the_events_fold_to_the_state,
    there_is_one_terminal_event_and_only_ignored_reports_behind_it,
    every_open_frame_has_exactly_one_token,
    what_is_outstanding_is_what_history_left_open,
    a_join_is_passed_once_and_not_before_enough_arrived,
    loops_keep_their_bounds,
    attempts_are_counted_and_bounded,
    nothing_is_released_while_paused,
    nothing_overdue_is_left,
    results_are_of_the_attempt_and_the_worker_that_count,
    what_no_queue_has_is_claimed_by_the_decision_that_releases_it,
)


def left_open(history: list[JobEvent], job: Job) -> list[tuple[object, ...]]:
    """What must be outstanding, told from the events alone."""
    tasks: dict[int, tuple[object, ...]] = {}
    nodes: dict[int, tuple[object, ...]] = {}
    children: dict[int, str] = {}
    handlers: dict[int, int] = {}
    paused = ended = False
    for event in history:
        fields: Any = event
        match type(event).__name__:
            case "TaskQueued":
                tasks[fields.task] = ("held", fields.task, fields.attempt)
            case "TaskRetryScheduled":
                tasks[fields.task] = ("timer", f"retry-{fields.task}-{fields.attempt}", fields.not_before)
            case "TaskReleased" | "TaskSucceeded" | "TaskFailed" | "TaskTimedOut" | "TaskCancelled":
                tasks.pop(fields.task, None)
            case "SignalAwaited":
                if fields.kind == "timer":
                    nodes[fields.activation] = ("timer", f"wait-{fields.activation}", fields.until)
            case "ChildStarted":
                nodes[fields.activation] = ("child", fields.activation, fields.child)
                children[fields.activation] = fields.child
            case "HandlerAwaited":
                handlers[fields.activation] = 1
                nodes[fields.activation] = ("handler", fields.activation, 1)
            case "HandlerFailed" if fields.retried:
                handlers[fields.activation] += 1
                nodes[fields.activation] = ("handler", fields.activation, handlers[fields.activation])
            case "WaitEnded" | "HandlerDecided" | "HandlerFailed" | "ChildEnded":
                nodes.pop(fields.activation, None)
                children.pop(fields.activation, None)
            case "NodeCancelled":
                nodes.pop(fields.activation, None)
            case "JobPaused":
                paused = True
            case "JobResumed":
                paused = False
            case kind if kind in TERMINALS:
                ended = True
    if ended:
        return [("orphan", activation, child) for activation, child in children.items()]
    waited = {node[1] for node in nodes.values() if node[0] == "child"}
    orphans: list[tuple[object, ...]] = [("orphan", a, c) for a, c in children.items() if a not in waited]
    wanted = [*tasks.values(), *nodes.values()]
    return orphans + [one for one in wanted if not paused or one[0] == "timer"]


def _key(effect: object) -> tuple[object, ...]:
    match effect:
        case HeldTask():
            return ("held", effect.task, effect.attempt)
        case StartTimer():
            return ("timer", effect.name, effect.at)
        case StartChild():
            return ("child", effect.activation, str(effect.child))
        case CancelChild():
            return ("orphan", effect.activation, str(effect.child))
        case RunHandler():
            return ("handler", effect.activation, effect.attempt)
    raise AssertionError(effect)
