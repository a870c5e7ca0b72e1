"""A job under random commands, each given twice, and what must hold of it after each of them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shared.domain.errors import DomainError
from shared.domain.graph import Graph
from shared.domain.graph_nodes import Loop
from shared.domain.job import (
    Action,
    AwaitApproval,
    CancelChild,
    Dispatch,
    Facts,
    GoTo,
    HeldTask,
    Job,
    JobSpec,
    Parallel,
    RunHandler,
    RunWorkflow,
    StartChild,
    StartTimer,
    TaskError,
    TaskSpec,
    Verdict,
)
from shared.domain.job.events import JobEvent
from shared.domain.topics import EVENTS
from shared.domain.values import ErrorKind, Json
from tests.unit.domain.given import ID, LEASE, NOON, evaluate
from tests.unit.domain.graphs import DECISIONS, SIGNALS, graphs
from tests.unit.domain.promises import MAX_ATTEMPTS, PROMISES, Told

KINDS: list[ErrorKind] = ["transient", "transient", "permanent", "timeout", "cancelled", "invalid_input"]
TIMERS = ["retry-1-2", "retry-1-3", "retry-2-2", "wait-1", "wait-2", "wait-3", "odd"]


@dataclass(frozen=True)
class Dice:
    """What chance says about one move; each move reads what it needs."""

    number: int
    off: int
    worker: str
    output: Json
    kind: ErrorKind

    def of(self, choices: list[str]) -> str:
        return choices[self.number % len(choices)]


DICE = st.builds(
    Dice,
    number=st.integers(0, 30),
    off=st.integers(0, 9),
    worker=st.sampled_from(["w1", "w1", "w2"]),
    output=st.sampled_from([None, 1, "x", {"a": 1}, {"a": 2, "b": []}]),
    kind=st.sampled_from(KINDS),
)
MOSTLY = st.sampled_from([True, True, True, False])


class JobMachine(RuleBasedStateMachine):
    """Every rule is one command, or a few that make sense; `told` is what has happened so far."""

    told: Told

    @initialize(graph=graphs(), yes=st.booleans(), room=MOSTLY, lasting=MOSTLY, free=MOSTLY)
    def accept(self, graph: Graph, yes: bool, room: bool, lasting: bool, free: bool) -> None:
        self.room, self.seconds = room, 0
        spec = JobSpec(
            workflow="w",
            input={"yes": yes},
            deadline=None if lasting else facts_at(300, graph, room).now_us,
            dispatch_timeout=30,
            run_timeout=50,
            retry={
                "max_attempts": MAX_ATTEMPTS,
                "base": 0 if yes else 2,
                "when_exhausted": "quarantine" if yes else "fail",
            },
            rate=None if free else {"key": "r", "limit": 1, "per_seconds": 1},
        )
        self.told = Told(Job.accept(ID, spec, facts_at(0, graph, room)), graph)
        self.collect()

    # One rule that chooses, since of many rules Hypothesis leaves some out of each run.
    @rule(move=st.deferred(lambda: moves()), dice=DICE)
    def move(self, move: Callable[["JobMachine", Dice], None], dice: Dice) -> None:
        move(self, dice)

    @invariant()
    def promises_are_kept(self) -> None:
        for promise in PROMISES:
            promise(self.told)

    def teardown(self) -> None:
        """In the end somebody cancels it, whatever it was doing."""
        if hasattr(self, "told"):
            self.cancel()
            self.promises_are_kept()

    @property
    def job(self) -> Job:
        return self.told.job

    @property
    def facts(self) -> Facts:
        return facts_at(self.seconds, self.told.graph, self.room)

    def collect(self) -> list[JobEvent]:
        """The new events; each must be what its class says, and survive JSON."""
        new = [event for event in self.job.collect_events() if isinstance(event, JobEvent)]
        for event in new:
            assert event == type(event)(**vars(event)), "an event is made of the fields of its class"
            self.told.shadow = restored(event).mutate(self.told.shadow)
        self.told.history += new
        return new

    def twice(self, command: Callable[[], Verdict | None], again: bool = True) -> None:
        """A command, and the same command again, which must have no second effect."""
        answer = self.once(command)
        new = self.collect()
        if isinstance(answer, Verdict) and not answer.accepted:
            assert {type(event).__name__ for event in new} <= {"ReportIgnored"}
        if isinstance(answer, DomainError):
            assert not new, "a refused command changes nothing"
        elif again:
            repeated = self.once(command)
            assert not self.collect(), "the second time is no event"
            if isinstance(answer, Verdict):
                assert repeated == answer, "the second time has the same answer"

    def once(self, command: Callable[[], Verdict | None]) -> Verdict | DomainError | None:
        try:
            return command()
        except DomainError as refused:
            return refused

    # -- workers

    def go_on(self, dice: Dice) -> None:
        """Something sensible happens: what is asked for is done, or a live task succeeds."""
        held = ("queued", "retry_scheduled")
        given = [task for task in self.job.live_tasks.values() if task.status not in held]
        asked = self.job.outstanding()
        if given and (not asked or dice.off > 2):
            task = given[dice.number % len(given)]
            attempt, worker, facts = task.attempt, task.worker or dice.worker, self.facts
            self.twice(lambda: self.job.succeed(task.id, attempt, worker, dice.output, facts))
        elif asked:
            self.carry_out(dice)
        else:
            self.approve(dice)
            self.signal(dice)

    def break_down(self, dice: Dice) -> None:
        """A live task fails, reported by whoever holds it."""
        live = list(self.job.live_tasks.values())
        if live:
            task = live[dice.number % len(live)]
            attempt, worker, facts = task.attempt, task.worker or dice.worker, self.facts
            self.twice(lambda: self.job.fail(task.id, attempt, worker, TaskError(dice.kind, "why"), facts))

    def succeed(self, dice: Dice) -> None:
        task, attempt = self.aim(dice)
        port, facts = "odd" if dice.off == 3 else "success", self.facts
        self.twice(lambda: self.job.succeed(task, attempt, dice.worker, dice.output, facts, port=port))

    def fail(self, dice: Dice) -> None:
        task, attempt = self.aim(dice)
        error, facts = TaskError(dice.kind, "why"), self.facts
        self.twice(lambda: self.job.fail(task, attempt, dice.worker, error, facts))

    def claim(self, dice: Dice) -> None:
        task, attempt = self.aim(dice)
        facts = self.facts
        at = facts.now_us if dice.number % 2 else None
        ahead = dice.number % 4 == 0
        self.twice(
            lambda: self.job.claim(task, attempt, dice.worker, LEASE, facts, started_at=at, ahead=ahead)
        )

    def take(self, dice: Dice) -> None:
        task, _ = self.aim(dice)
        facts, ahead = self.facts, dice.number % 2 == 0
        self.twice(lambda: self.job.take(task, dice.worker, LEASE, facts, ahead=ahead))

    def renew(self, dice: Dice) -> None:
        task, attempt = self.aim(dice)
        facts = self.facts
        self.twice(lambda: self.job.renew(task, attempt, dice.worker, LEASE, facts))

    def give_back(self, dice: Dice) -> None:
        task, attempt = self.aim(dice)
        facts = self.facts
        self.twice(lambda: self.job.give_back(task, attempt, dice.worker, facts))

    def progress(self, dice: Dice) -> None:
        task, attempt = self.aim(dice)
        share, facts = dice.number / 20 - 0.2, self.facts
        self.twice(lambda: self.job.progress(task, attempt, dice.worker, share, None, facts))

    def aim(self, dice: Dice) -> tuple[int, int]:
        """A task and an attempt: mostly a live one and the one that is on."""
        live = list(self.job.live_tasks)
        task = live[dice.number % len(live)] if live and dice.off < 8 else dice.number % 4
        known = self.job.tasks.get(task)
        off = {7: 1, 8: -1}.get(dice.off, 0)
        return task, (known.attempt if known else 1) + off

    # -- time and flow

    def time_passes(self, dice: Dice) -> None:
        self.seconds += (1, 2, 5, 15, 35, 70)[dice.number % 6]
        facts = self.facts
        self.twice(lambda: self.job.expire(facts))
        self.told.swept = facts.now_us
        due = self.job.next_due
        assert due is None or due > facts.now_us, "what is due is done"

    def room_changes(self, dice: Dice) -> None:
        self.room = dice.number % 3 > 0

    def carry_out(self, dice: Dice) -> None:
        """What the job asks for is done, and then not asked for again."""
        asked = self.job.outstanding()
        if not asked:
            return
        effect = asked[dice.number % len(asked)]
        facts = self.facts
        match effect:
            case HeldTask():
                if dice.off % 2:
                    self.twice(lambda: self.job.release(effect.task, facts))
                else:
                    self.twice(lambda: self.job.take(effect.task, dice.worker, LEASE, facts))
            case StartTimer():
                self.twice(lambda: self.job.wake(effect.name, facts))
            case StartChild() | CancelChild():
                outcome = ("succeeded", "failed", "cancelled")[dice.off % 3]
                child, activation = str(effect.child), effect.activation
                self.twice(lambda: self.job.child_ended(activation, child, outcome, 1, None, facts))
                if self.job.is_ended:
                    return  # what is left of an ended job is outside of it
            case RunHandler():
                self.decide(effect, dice, facts)
        assert effect not in self.job.outstanding(), "nothing is asked for twice"

    def decide(self, effect: RunHandler, dice: Dice, facts: Facts) -> None:
        follow = self.told.graph.follow(effect.node, "default")
        to = follow.node if follow is not None else effect.node
        actions: list[Action] = [
            GoTo(to, context={"n": dice.number}),
            Dispatch(TaskSpec("s"), {"success": to}),
            Parallel((TaskSpec("s"), TaskSpec("t")), to),
            AwaitApproval("ok", {DECISIONS[0]: to}, timeout=20),
            RunWorkflow("other", {"success": to}),
        ]
        if dice.off < len(actions):
            self.twice(lambda: self.job.act(effect.activation, actions[dice.off], facts))
        else:
            error = TaskError("transient", "raised")
            self.twice(lambda: self.job.handler_failed(effect.activation, error, facts, effect.attempt))

    def release(self, dice: Dice) -> None:
        facts = self.facts
        task, _ = self.aim(dice)
        self.twice(lambda: self.job.release(task, facts))

    def wake(self, dice: Dice) -> None:
        facts = self.facts
        self.twice(lambda: self.job.wake(dice.of(TIMERS), facts))

    # -- clients

    def signal(self, dice: Dice) -> None:
        name, facts = dice.of(list(SIGNALS)), self.facts
        # Where the graph waits for it more than once, a second signal is no repeat.
        nodes = self.told.graph.nodes.values()
        once = sum(getattr(node, "signal", None) == name for node in nodes) == 1
        again = once and not any(isinstance(node, Loop) for node in nodes)
        self.twice(lambda: self.job.signal(name, dice.output, facts), again=again)

    def approve(self, dice: Dice) -> None:
        decision, facts = dice.of(list(DECISIONS)), self.facts
        self.twice(lambda: self.job.approve(decision, facts), again=False)

    def pause(self, dice: Dice) -> None:
        facts = self.facts
        self.twice(lambda: self.job.pause(facts))

    def resume(self, dice: Dice) -> None:
        facts = self.facts
        self.twice(lambda: self.job.resume(facts))

    def cancel_perhaps(self, dice: Dice) -> None:
        if dice.off > 7:
            self.cancel()

    def cancel(self) -> None:
        facts = self.facts
        self.twice(lambda: self.job.cancel(facts, "no need", "client:a"))


def moves() -> st.SearchStrategy[Callable[[JobMachine, Dice], None]]:
    return st.sampled_from(
        [JobMachine.go_on] * 12
        + [JobMachine.carry_out, JobMachine.resume] * 2
        + [
            JobMachine.break_down,
            JobMachine.succeed,
            JobMachine.fail,
            JobMachine.claim,
            JobMachine.claim,
            JobMachine.take,
            JobMachine.renew,
            JobMachine.time_passes,
            JobMachine.break_down,
            JobMachine.give_back,
            JobMachine.progress,
            JobMachine.time_passes,
            JobMachine.room_changes,
            JobMachine.release,
            JobMachine.wake,
            JobMachine.signal,
            JobMachine.approve,
            JobMachine.pause,
            JobMachine.pause,
            JobMachine.cancel_perhaps,
        ]
    )


def facts_at(seconds: int, graph: Graph, room: bool) -> Facts:
    now = NOON + timedelta(seconds=seconds)
    return Facts(now=now, graph=graph, evaluate=evaluate, chance=0.5, has_room=lambda skill: room)


def restored(event: JobEvent) -> JobEvent:
    """The event as it comes back from the journal: its own fields through JSON, the head beside them."""
    head = {"originator_id", "originator_version", "timestamp", "originator_topic"}
    stored = json.loads(json.dumps({name: value for name, value in vars(event).items() if name not in head}))
    kept = {name: value for name, value in vars(event).items() if name in head}
    again = EVENTS[type(event).__name__](**stored, **kept)
    assert isinstance(again, JobEvent)
    return again
