"""The gateway: what a dialect asks of it. One a process; see the package for what it is."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec

from services.api.gateway.greeting import Greeting
from services.api.gateway.handing import Hands
from services.api.gateway.members import Member, Stop
from services.api.gateway.polls import Poll, Room
from services.api.gateway.pulls import Supply
from services.api.gateway.reports import ReportRefused, Reports
from services.api.gateway.reputations import Read, Reputations
from services.api.gateway.roster import GREETING_SECONDS, Roster
from services.api.gateway.runs import Runs
from services.api.gateway.tasks import Key, Run
from shared.application.clock import now_us
from shared.application.commands import DispatcherSilent
from shared.broker import subjects
from shared.broker.connection import Connection
from shared.broker.messages import Message
from shared.broker.publisher import Publisher
from shared.broker.streams import declare_consumer
from shared.domain.values import ACCEPTED, Json, Verdict

log = logging.getLogger(__name__)

TICK_SECONDS: Final = 0.25
PLACED_WINDOW: Final = 64
MOST_PENDING: Final = 5_000
ACK_WAIT_SECONDS: Final = 15.0
PATIENCE_SECONDS: Final = 25.0
"""How long a result waits for a dispatcher that is away before its worker is asked to say it again."""
LEAVING_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for all workers. One that is silent for `silence_seconds` is gone; one that never shows
    itself while it works keeps a task for `beatless_seconds`; one whose reputation is below
    `least_reputation` gets none. `soft_limit` is that of the strategy `overflow`.
    """

    lease_seconds: float
    beat_seconds: float
    silence_seconds: float
    beatless_seconds: float
    soft_limit: int
    least_reputation: float


class Gateway:
    """Made by `Gateway.open`; ended by `close`."""

    def __init__(self, connection: Connection, publisher: Publisher, standings: Read, terms: Terms) -> None:
        self._loop = asyncio.get_running_loop()
        self._connection, self._publisher = connection, publisher
        self._terms = terms
        self._members: dict[str, Member] = {}
        self._stops: dict[str, list[Stop]] = {}
        self._room = Room()
        self._reputations = Reputations(self._members, self._room, standings, terms.least_reputation)
        self._reports = Reports(publisher)
        self._supply = Supply(connection, self._take_in, self._missing)
        self._greeting = Greeting(publisher, self._supply, self._opened)
        lease = terms.lease_seconds
        self._runs = Runs(self._reports, publisher.publish, self._stop, lease, ACK_WAIT_SECONDS)
        self.roster = Roster(
            self._members, self._room, self._runs, self._greeting, publisher.publish, self._changed
        )
        """Who is here."""
        self._runs.on_end = self.roster.ended
        self._hands = Hands(
            self._members,
            self._room,
            self._runs,
            self._reports,
            publisher.publish,
            publisher.request_many,
            self._want,
            terms.beatless_seconds,
            terms.soft_limit,
        )
        self._sid = 0
        self._timers: list[asyncio.TimerHandle] = []
        self._closing = False

    @classmethod
    async def open(
        cls, connection: Connection, publisher: Publisher, standings: Read, terms: Terms
    ) -> "Gateway":
        """A gateway that serves. `standings` tells of the workers' results. Raises BrokerError."""
        gateway = cls(connection, publisher, standings, terms)
        await declare_consumer(connection, subjects.JOURNAL, PLACED_QUEUE)
        await gateway._supply.open(PLACED)
        gateway._sid = await connection.listen(subjects.CONTROLS, gateway._on_control)
        gateway._reputations.begin()
        gateway._again(TICK_SECONDS, gateway._tick)
        gateway._again(terms.beat_seconds, gateway._beat)
        return gateway

    def drain(self) -> None:
        """Answer all polls with nothing, further ones at once, and give back what nobody has."""
        self._closing = True
        self._hands.end_all()

    async def close(self) -> None:
        """The end. Workers keep what they have; another process, or this one again, goes on with them."""
        self.drain()
        for timer in self._timers:
            timer.cancel()
        self._greeting.close()
        await self._reputations.close()
        await self._hands.ahead.given_back(LEAVING_SECONDS)
        self._runs.acknowledge()
        await self._supply.close()
        await self._connection.unlisten(self._sid)

    # -- tasks

    def poll(self, name: str, skills: frozenset[str] | None, seconds: float) -> Poll:
        """Wait for a task: `answer` of the poll has it, or None after so many seconds.

        `skills` are those that may be had now, None for all. Say `gone(poll)` when nobody waits any more.
        """
        member = self.roster.polls(name, skills)
        able = frozenset(member.profile.skills if member.is_trusted else ())
        poll = self._room.make(
            name,
            able if skills is None else able & skills,
            member.heard + seconds,
            self._loop.create_future(),
        )
        if self._closing or seconds <= 0:
            poll.end()
            return poll
        self._hands.wait(poll)
        busy = len(member.runs) - self._hands.ahead.waiting(name) + self._room.count(name)
        self.roster.make_room(member, busy)
        return poll

    def gone(self, poll: Poll) -> None:
        """Nobody waits for the poll any more; a task that it was just given goes to the worker's next."""
        handed = poll.answer.result() if poll.answer.done() else None
        self._hands.gone(poll)
        if handed is not None:
            self._hands.undelivered(poll.worker, handed)

    def held(self, key: Key) -> Run | None:
        """What is known of a task in a worker's hands."""
        return self._runs.get(key)

    async def result(self, key: Key, name: str, outcome: Mapping[str, Any]) -> Verdict:
        """The attempt is over. `outcome` has the members of a report of the kind result.

        Raises DispatcherSilent when it may not have been heard; say it again then.
        """
        run = self._runs.get(key)
        if run is not None and run.worker != name:
            run = None
        if run is not None:
            run.reporting += 1
            started_at = outcome.get("started_at")
            worked = 0.0 if started_at is None else (now_us() - started_at) / 1e6
            queued = 0.0 if started_at is None else self._loop.time() - run.handed - worked
            # A poll that this lets go on is answered when the report is on its way, not before.
            self._loop.call_soon(self._hands.reported, name, queued)
        try:
            try:
                verdict = await self._reports.settled(key, name, "result", outcome, PATIENCE_SECONDS)
            except ReportRefused as refusal:
                log.error("a result of job %s was not understood: %s", key.job, refusal)
                error = {"kind": "contract_violation", "code": "report_refused", "message": str(refusal)}
                failed = {"outcome": "failed", "error": error}
                verdict = await self._reports.settled(key, name, "result", failed, PATIENCE_SECONDS)
        except ReportRefused as refusal:
            raise DispatcherSilent(str(refusal)) from refusal
        finally:
            if run is not None:
                run.reporting -= 1
        if run is not None:
            if verdict.reason == "unknown_job":
                # It was handed out from the journal: the dispatcher does not know the job yet.
                raise DispatcherSilent("the dispatcher does not know the job")
            self._runs.settled(run)
        return verdict

    async def progress(self, key: Key, name: str, fraction: float, message: str | None) -> Verdict:
        """How far it is, 0 to 1. Raises DispatcherSilent, ReportRefused."""
        run = self._runs.get(key)
        if run is not None and run.worker == name:
            if run.cancelled:
                return Verdict(accepted=False, reason="cancelled")
            self._runs.progressed(run, fraction, message)
            return ACCEPTED
        said = {"progress": fraction, "message": message}
        return await self._reports.settled(key, name, "progress", said, GREETING_SECONDS)

    async def event(self, key: Key, name: str, event: str, payload: Json, event_id: str) -> Verdict:
        """Something that the task tells of, by its own name. Raises DispatcherSilent, ReportRefused."""
        run = self._runs.get(key)
        if run is not None and run.worker == name:
            self._runs.heard(run)
        said = {"name": event, "payload": payload, "id": event_id}
        return await self._reports.settled(key, name, "event", said, GREETING_SECONDS)

    # -- connections

    def connect(self, name: str, stop: Stop) -> None:
        """From now on the worker can be told at once to stop a task."""
        self._stops.setdefault(name, []).append(stop)
        member = self._members.get(name)
        for key in member.runs if member is not None else ():
            run = self._runs.get(key)
            if run is not None and run.cancelled:
                stop(key)

    def disconnect(self, name: str, stop: Stop) -> None:
        """The end of what `connect` began."""
        stops = self._stops.get(name, [])
        if stop in stops:
            stops.remove(stop)
        if not stops:
            self._stops.pop(name, None)

    # -- private

    def _changed(self, name: str) -> None:
        """Somebody came, or takes no more."""
        member = self._members.get(name)
        self._reputations.came()
        if member is None or member.has_left:
            self._hands.ahead.give_up(name)
        self._supply.want(PLACED, PLACED_WINDOW if self._members else 0)

    def _stop(self, run: Run) -> None:
        for stop in list(self._stops.get(run.worker, ())):
            stop(run.key)

    def _opened(self, skills: frozenset[str], ack_wait_seconds: float) -> None:
        self._runs.ack_wait_seconds = min(self._runs.ack_wait_seconds, ack_wait_seconds)
        self._hands.look(skills)

    def _want(self, skill: str, number: float) -> None:
        consumer = self._greeting.consumer(skill)
        if consumer is not None:
            self._supply.want(consumer, number)

    def _take_in(self, message: Message) -> None:
        self._hands.take_in(message)

    def _missing(self, consumer: str) -> None:
        self.roster.greet_for(consumer)

    def _beat(self) -> None:
        self.roster.beat(self._terms.silence_seconds, self._stops)
        self._again(self._terms.beat_seconds, self._beat)

    def _tick(self) -> None:
        now = self._loop.time()
        self._hands.tick(now)
        self._runs.tick(now)
        self._again(TICK_SECONDS, self._tick)

    def _again(self, seconds: float, act: Callable[[], None]) -> None:
        self._timers = [timer for timer in self._timers if timer.when() > self._loop.time()]
        if not self._closing:
            self._timers.append(self._loop.call_later(seconds, act))

    def _on_control(self, subject: bytes, reply: bytes, header: bytes, data: bytes) -> None:
        """The dispatcher's word to a worker of ours, or to all of a skill."""
        token = subject.decode().partition(".")[2]
        name = self.roster.named_by(token)
        if name is None and not token.startswith("skill."):
            return
        try:
            word = _CONTROL.decode(data)
        except msgspec.DecodeError as error:
            log.error("a word on %s cannot be read: %s", subject.decode(), error)
            return
        if word.cancel is not None:
            cancelled = Key(word.cancel.job, word.cancel.task, word.cancel.attempt)
            self._runs.cancel(cancelled)
            self._hands.drop(lambda task: task.key == cancelled)
        if word.hello:
            self.roster.greet_again(name)


class _Cancel(msgspec.Struct):
    job: UUID
    task: int
    attempt: int


class _Control(msgspec.Struct):
    cancel: _Cancel | None = None
    hello: bool = False


_CONTROL: Final = msgspec.json.Decoder(_Control)
PLACED: Final = "placed"
PLACED_QUEUE: Final[dict[str, Any]] = {
    "durable_name": PLACED,
    "filter_subject": subjects.PLACED_TASKS,
    "description": "tasks that want more of a worker than its skill",
    "ack_policy": "explicit",
    "ack_wait": int(ACK_WAIT_SECONDS * 1e9),
    "max_ack_pending": MOST_PENDING,
    "max_waiting": 512,
    "deliver_policy": "all",
    "replay_policy": "instant",
}
