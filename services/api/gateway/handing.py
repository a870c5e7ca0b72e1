"""Tasks and polls find each other: what is delivered is claimed for a poll before it is handed out."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import msgspec

from services.api.gateway.ahead import Ahead
from services.api.gateway.members import Member
from services.api.gateway.placing import Placing
from services.api.gateway.polls import Poll, Room
from services.api.gateway.reports import Reports, answer_of
from services.api.gateway.runs import ACK, NAK, Runs, nak
from services.api.gateway.takes import Request, Takes
from services.api.gateway.tasks import Handed, MalformedTask, Task
from shared.broker.errors import BrokerError
from shared.broker.messages import Message

log = logging.getLogger(__name__)

HOLD_SECONDS: Final = 0.75
"""How long a task waits here for a poll before it goes back to its queue."""
SETTLING_SECONDS: Final = 2.0
CATCH_UP_SECONDS: Final = 0.25
"""How long at most the poll of a worker that is behind with its results waits for them."""


class Hands:
    """Gives tasks to polls. `members` are the workers that are here, by name."""

    def __init__(
        self,
        members: Mapping[str, Member],
        room: Room,
        runs: Runs,
        reports: Reports,
        send: Callable[[str, bytes], None],
        request: Request,
        want: Callable[[str, float], None],
        beatless_seconds: float,
        soft_limit: int,
    ) -> None:
        """`send` answers a delivery, `want` says how many tasks of a skill are wanted from its queue."""
        self._members, self._room, self._runs, self._reports = members, room, runs, reports
        runs.on_free = self._offer
        self._send, self._want = send, want
        self._beatless = beatless_seconds
        self._loop = asyncio.get_running_loop()
        self._held: dict[str, deque[tuple[float, Task]]] = {}
        self.ahead = Ahead(members, runs, reports, send)
        """What is claimed for workers that did not fetch it yet."""
        self._takes = Takes(request, self.ahead, self._taken, self.look)
        self._given: dict[str, int] = {}
        self._placing = Placing(members, room, self._given, soft_limit, send, self._claim)
        self._paced: dict[str, Poll] = {}
        self._turn = 0
        self._changed: set[str] = set()

    # -- polls

    def wait(self, poll: Poll) -> None:
        """A poll came, or comes back: it gets what waits for it, or waits itself."""
        if not poll.is_open:
            return
        if self._loop.time() >= poll.deadline and poll.taken:
            poll.end()
            return
        if not poll.taken and poll.worker not in self._paced and self.ahead.is_behind(poll.worker):
            self._paced[poll.worker] = poll
            self._loop.call_later(CATCH_UP_SECONDS, self._caught_up, poll)
            return
        self._serve(poll)

    def _serve(self, poll: Poll) -> None:
        ready = self.ahead.next(poll)
        if ready is not None:
            self._hand(poll, ready)
        else:
            self._room.wait(poll)
            task = self._waiting_for(poll)
            if task is not None:
                self._claim(poll, task)
        self.look(poll.skills)
        self._stock(poll.skills)

    def reported(self, worker: str, queued_seconds: float) -> None:
        """A result of the worker came, which it had for so long before it could say it."""
        self.ahead.reported(worker, queued_seconds)
        poll = self._paced.get(worker)
        if poll is not None:
            self._go_on(poll)

    def gone(self, poll: Poll) -> None:
        """Nobody waits for the poll's answer any more."""
        poll.end()
        self._leave(poll)

    def undelivered(self, worker: str, handed: Handed) -> None:
        """A task was granted and its poll was gone: the worker's next poll gets it."""
        self.ahead.keep(worker, handed)

    def end_all(self) -> None:
        """Answer every poll, and give back what is held."""
        for poll in [*self._room.everyone(), *self._paced.values()]:
            self.gone(poll)
        for held in self._held.values():
            for _, task in held:
                self._send(task.ack, NAK)
        self._held.clear()
        self._placing.end_all()
        self.ahead.give_up_all()

    # -- tasks

    def take_in(self, message: Message) -> None:
        """A delivery of some queue."""
        try:
            task = Task.delivered(message)
        except MalformedTask as error:
            log.error("%s; it is given back and comes again in 30 s", error)
            self._send(message.reply, nak(30.0))
        else:
            self._offer(task)

    def _offer(self, task: Task) -> None:
        """It goes to a poll, or lies ready, or waits here."""
        if self._runs.keeps(task):
            return
        if task.needs is not None:
            self._placing.take_in(task)
            return
        poll = self._room.first(task.skill)
        if poll is not None and task.deliveries > 1:
            poll = self._room.first_not_of(task.skill, self._unsettled())
        if poll is not None:
            self._claim(poll, task)
        elif (worker := self.ahead.worker_for(task)) is not None:
            self._claim_ahead(worker, task)
        else:
            self._held.setdefault(task.skill, deque()).append((self._loop.time(), task))
            self.look((task.skill,))

    def drop(self, cancelled: Callable[[Task], bool]) -> None:
        """Nobody needs some of the tasks that are held here any more."""
        for skill, held in list(self._held.items()):
            gone = [task for _, task in held if cancelled(task)]
            if gone:
                self._held[skill] = deque(entry for entry in held if not cancelled(entry[1]))
                for task in gone:
                    self._send(task.ack, ACK)
        self._placing.drop(cancelled)

    def tick(self, now: float) -> None:
        """Regular care: polls whose time is over, and tasks that wait."""
        for poll in self._room.overdue(now):
            if not poll.taken:  # one that is being served has its answer soon
                self.gone(poll)
        self._room.forget_answered()
        for skill, held in list(self._held.items()):
            while held and held[0][0] + HOLD_SECONDS <= now:
                self._send(held.popleft()[1].ack, NAK)
                self.look((skill,))  # a poll may wait for what it could not have then
            if not held:
                del self._held[skill]
        self.look(frozenset(self.ahead.tick(now)))
        self._placing.tick(now)

    def look(self, skills: frozenset[str] | tuple[str, ...]) -> None:
        """What is wanted of these skills changed: say it once, at the end of this turn of the loop."""
        if not self._changed:
            self._loop.call_soon(self._say_wants)
        self._changed.update(skills)

    # -- private

    def _waiting_for(self, poll: Poll) -> Task | None:
        """What waits here for this poll: the most urgent placed task that fits, then the oldest other one."""
        placed = self._placing.waiting_for(poll)
        if placed is not None:
            return placed
        oldest: deque[tuple[float, Task]] | None = None
        for skill in poll.skills if self._held else ():
            held = self._held.get(skill)
            if held and (oldest is None or held[0][0] < oldest[0][0]):
                if held[0][1].deliveries > 1 and poll.worker in self._unsettled():
                    continue
                oldest = held
        if oldest is None:
            return None
        task = oldest.popleft()[1]
        if not oldest:
            del self._held[task.skill]
        return task

    def _caught_up(self, poll: Poll) -> None:
        if self._paced.get(poll.worker) is poll:
            self.ahead.catch_up(poll.worker)
            self._go_on(poll)

    def _go_on(self, poll: Poll) -> None:
        """The poll of a worker that was behind waits like any other."""
        del self._paced[poll.worker]
        self._serve(poll)

    def _stock(self, skills: frozenset[str]) -> None:
        """Claim ahead what waits here."""
        for skill in skills if self._held else ():
            held = self._held.get(skill)
            while held and (worker := self.ahead.worker_for(held[0][1])) is not None:
                self._claim_ahead(worker, held.popleft()[1])
            if held is not None and not held:
                del self._held[skill]

    def _claim(self, poll: Poll, task: Task) -> None:
        """Ask whether the poll's worker may have the task. The poll keeps its place."""
        self._leave(poll)
        poll.taken = True
        asked = self._reports.ask(task.key, poll.worker, "claim")
        asked.add_done_callback(partial(self._claimed, poll, task))

    def _claimed(self, poll: Poll, task: Task, future: "asyncio.Future[Message]") -> None:
        if future.cancelled():
            return
        handed = self._granted(poll.worker, task, future)
        if handed is None:
            self.wait(poll)
        elif poll.is_open:
            self._hand(poll, handed)
        else:
            self.undelivered(poll.worker, handed)

    def _claim_ahead(self, worker: str, task: Task) -> None:
        self.ahead.begin(worker)
        asked = self._reports.ask(task.key, worker, "claim", ahead=True)
        asked.add_done_callback(partial(self._claimed_ahead, worker, task))

    def _claimed_ahead(self, worker: str, task: Task, future: "asyncio.Future[Message]") -> None:
        self.ahead.over(worker)
        handed = None if future.cancelled() else self._granted(worker, task, future)
        if handed is not None:
            self._lies_ready(worker, handed)

    def _taken(self, worker: str, task: Task, lease_seconds: float) -> None:
        """The dispatcher gave a held task away."""
        self._lies_ready(worker, self._begin(worker, task, lease_seconds))

    def _lies_ready(self, worker: str, handed: Handed) -> None:
        """What was claimed ahead goes to a poll of its worker, or lies ready for the next."""
        run = self._runs.get(handed.task.key)
        if run is not None:
            run.renewed = 0.0  # such a claim is short: that the worker fetched the task is enough to renew it
        poll = self._room.of(worker, handed.task.skill)
        if poll is None:
            self.ahead.keep(worker, handed)
        else:
            self._leave(poll)
            self._hand(poll, handed)

    def _granted(self, worker: str, task: Task, future: "asyncio.Future[Message]") -> Handed | None:
        """What the dispatcher says to a claim; None when the worker may not have the task."""
        try:
            answer = answer_of(future.result())
        except (BrokerError, msgspec.DecodeError) as problem:
            log.info("task %d of job %s goes back: %s", task.key.task, task.key.job, problem)
            self._send(task.ack, nak(1.0))
            return None
        if answer.verdict != "granted":
            # Only a verdict acks. The task came from the journal, so its job is there, though who answers
            # may not know it yet.
            if answer.verdict != "refused" or answer.reason == "unknown_job":
                said = answer.error or answer.reason
                log.error("the claim of job %s could not be decided: %s", task.key.job, said)
                self._send(task.ack, nak(min(30.0, 2.0 ** min(task.deliveries - 1, 5))))
            else:
                log.info("task %d of job %s is not run: %s", task.key.task, task.key.job, answer.reason)
                self._send(task.ack, ACK)
            return None
        return self._begin(worker, task, answer.lease_seconds)

    def _begin(self, worker: str, task: Task, lease_seconds: float) -> Handed:
        """The worker holds the task from now on."""
        member = self._members.get(worker)
        keep = 0.0 if member is None or member.beats else self._beatless
        self._runs.begin(task, worker, lease_seconds, keep)
        if member is not None:
            member.runs[task.key] = None
        self._turn += 1
        self._given[worker] = self._turn
        return Handed(task, lease_seconds)

    def _hand(self, poll: Poll, handed: Handed) -> None:
        self.ahead.took(poll.worker)
        run = self._runs.get(handed.task.key)
        if run is not None:
            run.handed = self._loop.time()
        poll.end(handed)

    def _leave(self, poll: Poll) -> None:
        self._room.leave(poll)
        self.look(poll.skills)

    def _say_wants(self) -> None:
        changed, self._changed = self._changed, set()
        for skill in changed:
            held = len(self._held.get(skill, ()))
            left = self._takes.fill(skill, self.ahead.wants(skill) - held)
            self._want(skill, self._room.demand(skill) + left)

    def _unsettled(self) -> frozenset[str]:
        """Workers that may hold a task that we do not know of: they came just now and did not say yet."""
        now = self._loop.time()
        return frozenset(
            name
            for name, member in self._members.items()
            if not member.lists_tasks and (member.is_guessed or now - member.known_since < SETTLING_SECONDS)
        )
