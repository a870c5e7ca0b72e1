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
from services.api.gateway.polls import Poll, Room
from services.api.gateway.reports import Reports, answer_of
from services.api.gateway.runs import ACK, IN_PROGRESS, NAK, Runs, nak
from services.api.gateway.tasks import Handed, MalformedTask, Task
from shared.application.clock import now_us
from shared.broker.errors import BrokerError
from shared.broker.messages import Message
from shared.domain.placement import chosen, fits

log = logging.getLogger(__name__)

HOLD_SECONDS: Final = 0.75
"""How long a task waits here for a poll before it goes back to its queue."""
PATIENCE_SECONDS: Final = 1.0
"""How long a placed task waits for the best worker before another one that fits gets it."""
LATE_SECONDS: Final = 5.0
"""How long after its last moment a placed task is let go; the scheduler ends it in the meantime."""
SETTLING_SECONDS: Final = 2.0
CATCH_UP_SECONDS: Final = 0.25
"""How long at most the poll of a worker that is behind with its results waits for them."""
WPI_SECONDS: Final = 3.0
MOST_HELD: Final = 500


class _Placed:
    """A placed task that waits here: since when, and when to say next that it is still wanted."""

    __slots__ = ("arrived", "task", "wpi_at")

    def __init__(self, task: Task, now: float) -> None:
        self.task, self.arrived, self.wpi_at = task, now, now + WPI_SECONDS


class Hands:
    """Gives tasks to polls. `members` are the workers that are here, by name."""

    def __init__(
        self,
        members: Mapping[str, Member],
        room: Room,
        runs: Runs,
        reports: Reports,
        send: Callable[[str, bytes], None],
        want: Callable[[str, float], None],
        beatless_seconds: float,
        soft_limit: int,
    ) -> None:
        """`want` says how many tasks of a skill are wanted, `send` answers a delivery."""
        self._members, self._room, self._runs, self._reports = members, room, runs, reports
        self._send, self._want = send, want
        self._beatless, self._soft_limit = beatless_seconds, soft_limit
        self._loop = asyncio.get_running_loop()
        self._held: dict[str, deque[tuple[float, Task]]] = {}
        self._placed: list[_Placed] = []
        self.ahead = Ahead(members, runs, reports, send)
        """What is claimed for workers that did not fetch it yet."""
        self._given: dict[str, int] = {}
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
        for entry in self._placed:
            self._send(entry.task.ack, NAK)
        self._held.clear()
        self._placed.clear()
        self.ahead.give_up_all()

    # -- tasks

    def take_in(self, message: Message) -> None:
        """A delivery of some queue."""
        try:
            task = Task(message, message.delivery.delivered)
        except MalformedTask as error:
            log.error("%s; it is given back and comes again in 30 s", error)
            self._send(message.reply, nak(30.0))
            return
        if self._runs.redelivered(task):
            return
        if task.deliveries > 1 and self.ahead.gave_back(task.key):
            task.deliveries = 1  # nobody has it, whatever the queue counts
        if task.needs is not None:
            if not self._place(task, self._loop.time()):
                self._keep_placed(task)
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
        for entry in [entry for entry in self._placed if cancelled(entry.task)]:
            self._placed.remove(entry)
            self._send(entry.task.ack, ACK)

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
        self._tick_placed(now)

    def look(self, skills: frozenset[str] | tuple[str, ...]) -> None:
        """What is wanted of these skills changed: say it once, at the end of this turn of the loop."""
        if not self._changed:
            self._loop.call_soon(self._say_wants)
        self._changed.update(skills)

    # -- private

    def _waiting_for(self, poll: Poll) -> Task | None:
        """What waits here for this poll: the most urgent placed task that fits, then the oldest other one."""
        member = self._members.get(poll.worker)
        now = self._loop.time()
        if self._placed and member is not None:
            candidate = member.candidate()
            for entry in sorted(self._placed, key=lambda entry: (-entry.task.urgency, entry.arrived)):
                task = entry.task
                assert task.needs is not None
                if task.skill not in poll.skills or not fits(candidate, task.skill, task.needs):
                    continue
                if not member.suits(task):
                    continue
                if now - entry.arrived >= PATIENCE_SECONDS or self._best(task) == poll.worker:
                    self._placed.remove(entry)
                    return task
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
        if handed is None:
            return
        run = self._runs.get(task.key)
        if run is not None:
            run.renewed = 0.0  # such a claim is short: that the worker fetched the task is enough to renew it
        poll = self._poll_of(worker, task.skill)
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
        member = self._members.get(worker)
        keep = 0.0 if member is None or member.beats else self._beatless
        self._runs.begin(task, worker, answer.lease_seconds, keep)
        if member is not None:
            member.runs[task.key] = None
        self._turn += 1
        self._given[worker] = self._turn
        return Handed(task, answer.lease_seconds)

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
            wanted = self._room.demand(skill) + self.ahead.wants(skill)
            self._want(skill, wanted - len(self._held.get(skill, ())))

    def _unsettled(self) -> frozenset[str]:
        """Workers that may hold a task that we do not know of: they came just now and did not say yet."""
        now = self._loop.time()
        return frozenset(
            name
            for name, member in self._members.items()
            if not member.lists_tasks and (member.is_guessed or now - member.known_since < SETTLING_SECONDS)
        )

    # -- placed tasks

    def _best(self, task: Task, *, waiting: bool = False) -> str | None:
        """The worker that its strategy chooses; of those that ask for work now when `waiting`."""
        assert task.needs is not None
        candidates = [
            member.candidate()
            for member in self._members.values()
            if not member.has_left
            and task.skill in member.profile.skills
            and member.suits(task)
            and (not waiting or self._poll_of(member.name, task.skill) is not None)
        ]
        best = chosen(candidates, task.skill, task.needs, self._given, self._soft_limit)
        return None if best is None else best.name

    def _poll_of(self, worker: str, skill: str) -> Poll | None:
        poll = self._room.of(worker)
        return poll if poll is not None and skill in poll.skills else None

    def _place(self, task: Task, now: float, arrived: float | None = None) -> bool:
        """Give a placed task to its best worker; later to the best of those that wait. False: keep it."""
        name = self._best(task)
        if name is None:
            self._send(task.ack, nak(1.0))  # nobody here: another gateway may have the worker
            return True
        poll = self._poll_of(name, task.skill)
        if poll is None and arrived is not None and now - arrived >= PATIENCE_SECONDS:
            name = self._best(task, waiting=True)
            poll = None if name is None else self._poll_of(name, task.skill)
        if poll is None:
            return False
        self._claim(poll, task)
        return True

    def _keep_placed(self, task: Task) -> None:
        # It may have been delivered again while it waits here.
        self._placed = [entry for entry in self._placed if entry.task.key != task.key]
        if len(self._placed) >= MOST_HELD:
            self._send(self._placed.pop(0).task.ack, nak(1.0))
        self._placed.append(_Placed(task, self._loop.time()))

    def _tick_placed(self, now: float) -> None:
        late = now_us() - int(LATE_SECONDS * 1e6)
        for entry in list(self._placed):
            task = entry.task
            if task.dispatch_by is not None and task.dispatch_by < late:
                self._placed.remove(entry)
                self._send(task.ack, ACK)
                continue
            due = now >= entry.wpi_at
            if (due or self._room.first(task.skill)) and self._place(task, now, entry.arrived):
                self._placed.remove(entry)
            elif due:
                entry.wpi_at = now + WPI_SECONDS
                self._send(task.ack, IN_PROGRESS)
