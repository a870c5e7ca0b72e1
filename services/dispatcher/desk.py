"""The desk: every job that is being worked on, hot in memory, and one decision at a time for each.

A command is decided against the aggregate at once and stored after that; its answer is given when the
journal has it. While a job's decision is on its way to the journal, further commands for the job wait in
line. A lost race or a lost answer from the journal throws the hot aggregate away, reads the job again and
decides again: decisions are idempotent by the state, so a command that was stored after all changes nothing.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Final, cast
from uuid import UUID

from eventsourcing.domain import AggregateEvent

from services.dispatcher.ports import Fold, Graphs, Keeper, Submit, Watcher
from services.dispatcher.slots import (
    Broken,
    Command,
    Done,
    Missing,
    Outcome,
    Refused,
    Slot,
    Unavailable,
    look,
)
from shared.application.clock import utc_now
from shared.application.ports import (
    Decision,
    Journal,
    JournalError,
    StoredCommit,
    UnknownOutcome,
    VersionConflict,
)
from shared.domain.errors import DomainError, NotThere
from shared.domain.graph import Graph
from shared.domain.job import Facts, Job
from shared.domain.template import Evaluate
from shared.domain.values import ENDINGS, TaskError

log = logging.getLogger("daybook.dispatcher.desk")

MAX_TRIES = 12
"""Decisions of one command before it is given up: every lost race means that somebody else won one."""

MOST_EVENTS = 200
"""A decision takes no further command when it holds so many events."""

LOOKS = 12
LOOK_SECONDS = 0.5
"""How often, and with what pause, a job's workflow is looked for before it counts as gone."""

_LEADS_NOWHERE = ENDINGS | {"ReportIgnored", "TaskClaimed", "LeaseRenewed", "TaskProgressed"}
"""Last events of commits after which nothing is to be done for a job."""


class Desk:
    """One writer a job: commands in, commits out."""

    def __init__(
        self,
        journal: Journal,
        submit: Submit,
        graphs: Graphs,
        watcher: Watcher,
        evaluate: Evaluate,
        fold: Fold,
        *,
        keeper: Keeper | None = None,
        capacity: int = 20_000,
    ) -> None:
        self._journal = journal
        self._submit = submit
        self._graphs = graphs
        self._watcher = watcher
        self._evaluate = evaluate
        self._fold = fold
        self._keeper = keeper
        self._capacity = capacity
        self._slots: dict[UUID, Slot] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._moved = asyncio.Event()
        self.position = 0
        """The stream sequence of the newest commit that the journal has told of."""

    def __len__(self) -> int:
        return len(self._slots)

    def post(self, id: UUID, command: Command) -> None:  # noqa: A002
        """Decide `command` on the job, at once if it is here and idle, else in its turn."""
        slot = self._slots.get(id)
        if slot is None:
            slot = self._slots[id] = Slot(id)
        slot.waiting.append(command)
        self._serve(slot)

    def take_in(self, commits: Sequence[StoredCommit]) -> None:
        """What the journal tells: jobs that others accepted, and our own decisions coming back."""
        for commit in commits:
            if commit.kind == "job":
                try:
                    self._take(commit)
                except Exception:  # a commit that makes no sense must not keep all others from being seen
                    log.exception("the commit at %d of job %s is passed over", commit.sequence, commit.id)
            self.position = commit.sequence
        self._moved.set()
        if len(self._slots) > self._capacity:
            self._make_room()

    async def reached(self, sequence: int) -> None:
        """Wait until the journal has told of everything up to `sequence`."""
        while self.position < sequence:
            self._moved.clear()
            await self._moved.wait()

    async def stop(self) -> None:
        """Wait for the loads under way; nothing new is decided after that."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _take(self, commit: StoredCommit) -> None:
        slot = self._slots.get(commit.id)
        if slot is None:
            if commit.n == 1:
                self._open(commit)
            else:
                self._watcher.observe(commit.id, commit.events)
                if commit.events[-1][0] not in _LEADS_NOWHERE:
                    # Decided before this process began: what follows from it was perhaps nobody's yet.
                    self.post(commit.id, look())
            return
        if commit.last_version > slot.observed:
            slot.observed = commit.last_version
            self._watcher.observe(commit.id, commit.events)
            if slot.job is not None and not slot.busy and slot.job.version == commit.last_version:
                # It was decided before all that went before it was observed: a task that it holds again
                # counted as in flight until now.
                self._watcher.follow_up(slot)
        slot.told = commit.last_version
        if slot.job is not None and not slot.busy and commit.n > slot.job.version:
            slot.job = None  # somebody else decided; what we hold is old
            self._load_later(slot)
        self._leave_if_over(slot)

    def _leave_if_over(self, slot: Slot) -> None:
        """An ended job leaves the desk once its last decision is stored and the journal has told of it.

        Either may come first. Before both, a late word of the journal would look like news.
        """
        job = slot.job
        if job is None or not job.is_ended or slot.busy or slot.waiting or slot.told < job.version:
            return
        self._slots.pop(slot.id, None)

    def _open(self, commit: StoredCommit) -> None:
        """A job that somebody else accepted: fold it and do what its state asks for."""
        job = self._fold(commit)
        self._watcher.observe(commit.id, commit.events)
        slot = Slot(commit.id, job=job, tip=commit.digest, sequence=commit.sequence)
        slot.observed = slot.told = commit.last_version
        self._slots[commit.id] = slot
        slot.graph = self._graphs.known(job)
        if slot.graph is None:
            self._load_later(slot)
        else:
            self._watcher.follow_up(slot)

    def _serve(self, slot: Slot) -> None:
        while slot.waiting and not slot.busy:
            if slot.job is None or slot.graph is None:
                self._load_later(slot)
                return
            self._decide(slot, slot.job, slot.graph)

    def _decide(self, slot: Slot, job: Job, graph: Graph) -> None:
        """Decide what waits for the job, as far as one actor asked for it, and store it as one decision.

        While one decision was on its way others have come (the results of a fork, say): together they cost
        what one costs.
        """
        facts = Facts(
            now=utc_now(),
            graph=graph,
            evaluate=self._evaluate,
            chance=random.random(),  # noqa: S311 (jitter)
            has_room=self._watcher.room(),
        )
        by = slot.waiting[0].by
        events: list[AggregateEvent] = []
        decided: list[tuple[Command, object, bool]] = []
        while slot.waiting and slot.waiting[0].by == by and len(events) < MOST_EVENTS:
            command = slot.waiting.popleft()
            command.tries += 1
            try:
                answer = command.act(job, facts)
            except DomainError as problem:
                command.done(Refused(problem))
                if not job.pending_events:
                    continue
                self._forget(slot, [command for command, _, _ in decided])
                return
            except Exception as bug:
                log.exception("a command on job %s broke", slot.id)
                self._forget(slot, [command for command, _, _ in decided])
                command.done(Broken(bug))
                return
            new = cast(Sequence[AggregateEvent], job.collect_events())
            if new or events:
                events += new
                decided.append((command, answer, bool(new)))
            else:
                command.done(Done(answer, job, slot.sequence, changed=False))
        if events:
            try:
                stored, tip = self._submit(Decision("job", slot.id, events, by, slot.tip))
            except Exception as bug:
                log.exception("a decision about job %s cannot be written down", slot.id)
                self._forget(slot, [])
                for command, _, _ in decided:
                    command.done(Broken(bug))
                return
            slot.busy = True
            stored.add_done_callback(partial(self._stored, slot, decided, events, tip))

    def _forget(self, slot: Slot, commands: Sequence[Command]) -> None:
        """What we hold is not what is stored: read the job again, and decide these again."""
        slot.job = None
        slot.waiting.extendleft(reversed(commands))

    def _stored(
        self,
        slot: Slot,
        decided: Sequence[tuple[Command, object, bool]],
        events: Sequence[AggregateEvent],
        tip: bytes,
        stored: "asyncio.Future[int]",
    ) -> None:
        slot.busy = False
        problem = stored.exception() if not stored.cancelled() else asyncio.CancelledError()
        if problem is None:
            slot.tip, slot.sequence = tip, stored.result()
            job = slot.job
            assert job is not None
            topics = [(type(event).__name__, vars(event)) for event in events]
            if events[0].originator_version == slot.observed + 1:
                slot.observed = events[-1].originator_version
                self._watcher.observe(slot.id, topics)
            for command, answer, changed in decided:
                command.done(Done(answer, job, slot.sequence, changed))
            self._watcher.follow_up(slot, topics)
            if self._keeper is not None:
                self._keeper.stored(slot)
        else:
            self._not_stored(slot, [command for command, _, _ in decided], problem)
        self._serve(slot)
        self._leave_if_over(slot)

    def _not_stored(self, slot: Slot, commands: Sequence[Command], problem: BaseException) -> None:
        again: list[Command] = []
        if isinstance(problem, VersionConflict | UnknownOutcome):
            again = [command for command in commands if command.tries < MAX_TRIES]
        elif not isinstance(problem, JournalError | asyncio.CancelledError):
            log.error("a decision about job %s could not be stored", slot.id, exc_info=problem)
        self._forget(slot, again)
        for command in commands:
            if command not in again:
                command.done(Unavailable(Exception(str(problem))))

    def _load_later(self, slot: Slot) -> None:
        slot.busy = True
        task = asyncio.get_running_loop().create_task(self._load(slot))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _load(self, slot: Slot) -> None:
        """Read the job and its workflow; what waits goes on, or hears that it cannot."""
        problem: Outcome | None = None
        try:
            if slot.job is None:
                recorded = await self._journal.load(Job, slot.id)
                if recorded is None:
                    problem = Missing()
                else:
                    slot.job, slot.tip, slot.sequence = recorded.aggregate, recorded.tip, recorded.sequence
                    slot.snapshot = recorded.snapshot
                    if recorded.sequence <= self.position:
                        slot.told = slot.job.version
            if slot.job is not None:
                slot.graph = await self._fetch(slot.job)
        except JournalError as unavailable:
            slot.job = None
            problem = Unavailable(unavailable)
        except DomainError as refused:
            problem = Refused(refused)
        finally:
            slot.busy = False
        if problem is None:
            if self._keeper is not None:
                self._keeper.stored(slot)
            self._watcher.follow_up(slot)
            self._serve(slot)
            self._leave_if_over(slot)
            return
        if isinstance(problem, Refused):
            log.error("job %s cannot go on: %s", slot.id, problem.problem)
            lost = isinstance(problem.problem, NotThere)
            if lost and slot.job is not None and not slot.job.is_ended:
                self._end(slot, problem.problem)
                return
        waiting, slot.waiting = slot.waiting, deque()
        if slot.job is None or not waiting:
            self._slots.pop(slot.id, None)
        for command in waiting:
            command.done(problem)

    async def _fetch(self, job: Job) -> Graph:
        """The workflow of a job. Raises DomainError when it does not come for a while: it may be on its way,
        as after a flush, when blueprints are published anew.
        """
        looks = 1 if job.is_ended else LOOKS
        while True:
            try:
                return await self._graphs.fetch(job)
            except NotThere:
                looks -= 1
                if not looks:
                    raise
            await asyncio.sleep(LOOK_SECONDS)

    def _end(self, slot: Slot, problem: DomainError) -> None:
        """The job's workflow is nowhere: it ends with that error, instead of waiting for ever."""
        error = TaskError("permanent", f"the job cannot go on: {problem}", "no_workflow")

        def act(job: Job, facts: Facts) -> None:
            job.break_off(error, facts)

        def done(outcome: Outcome) -> None:
            if isinstance(outcome, Unavailable):
                asyncio.get_running_loop().call_later(LOOK_SECONDS, self.post, slot.id, look())

        slot.graph = _NO_GRAPH  # to end a job takes none
        slot.waiting.appendleft(Command(act, done))
        self._serve(slot)
        slot.graph = None

    def _make_room(self) -> None:
        """Forget idle jobs, oldest first, whose last decision the journal has told us back."""
        for id_, slot in list(self._slots.items()):
            if len(self._slots) <= self._capacity * 9 // 10:
                return
            if not slot.busy and not slot.waiting and slot.sequence <= self.position:
                del self._slots[id_]


_NO_GRAPH: Final = Graph.of_skill("none")
