"""Who is here: workers come, show that they live, change, and go; the dispatcher hears of it."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from services.api.gateway.contracts import NO_CONTRACT, Contract
from services.api.gateway.greeting import Greeting, HelloRefused
from services.api.gateway.members import MOST_CONCURRENCY, Member, Profile, WorkerView
from services.api.gateway.polls import Room
from services.api.gateway.runs import Runs
from services.api.gateway.tasks import Key, Run
from shared.application.ids import new_id
from shared.broker import subjects
from shared.domain.placement import Candidate
from shared.domain.values import Json
from shared.domain.worker import worker_id

log = logging.getLogger(__name__)

GREETING_SECONDS: Final = 3.0


class UnknownWorker(Exception):
    """Nobody of that name has registered here; it should do so (again)."""


class Roster:
    """The workers behind the gateway. `members` is shared with who gives them tasks."""

    def __init__(
        self,
        members: dict[str, Member],
        room: Room,
        runs: Runs,
        greeting: Greeting,
        publish: Callable[[str, bytes], None],
        changed: Callable[[str], None],
    ) -> None:
        """`changed` is told the name of a worker that came, or takes no more tasks."""
        self._members, self._room, self._runs, self._greeting = members, room, runs, greeting
        self._publish, self._changed = publish, changed
        self._by_token: dict[str, str] = {}
        self._loop = asyncio.get_running_loop()

    async def register(self, profile: Profile) -> None:
        """A worker came, or came back. Raises HelloRefused when it may not be as it says it is.

        When the dispatcher is away the worker is known all the same, and it hears of it later.
        """
        member = self._enter(profile, is_guessed=False)
        if not profile.skills:
            return  # it can do nothing yet; a heartbeat may say more
        greeting = self._greeting.begin(member)
        await asyncio.wait({greeting}, timeout=GREETING_SECONDS)
        if not greeting.done() or greeting.cancelled():
            return
        if (problem := greeting.exception()) is not None:
            if isinstance(problem, HelloRefused):
                self._forget(member)
            raise problem

    def reskill(self, profile: Profile) -> None:
        """A worker that is here can do something else now. Raises UnknownWorker."""
        member = self._known(profile.name)
        member.profile = profile
        self._room.prefer(member.name, member.preferences())
        if profile.skills and not member.has_left:
            self._greeting.begin(member)

    def words(self, name: str) -> Mapping[str, Any]:
        """What a worker said of itself. Raises UnknownWorker."""
        return self._known(name).profile.words

    def touch(self, name: str) -> None:
        """A sign of life that says nothing of tasks but that they go on. Raises UnknownWorker."""
        member = self._known(name)
        self._alive(member)
        for key in list(member.runs):
            self._hear(member, key)

    def heartbeat(
        self,
        name: str,
        working_on: Iterable[Key],
        *,
        status: str,
        usage: Mapping[str, Any] | None,
        listed: Sequence[str],
        hot: frozenset[str] | None,
        said: Mapping[str, Any] | None = None,
    ) -> list[Key]:
        """What the worker says it works on; the answer is what it may stop. `said` is shown instead of the
        same members of its registration. Raises UnknownWorker.
        """
        member = self._known(name)
        self._alive(member)
        member.status, member.listed, member.lists_tasks = status, listed, True
        if usage is not None:
            member.usage = usage
        if hot is not None and hot != member.said_hot:
            member.said_hot = hot
            self._room.prefer(name, member.preferences())
        if said:
            member.said = {**member.said, **said}
        ours = [key for key in working_on if not self._runs.is_strange(key)]
        return [key for key in ours if self._hear(member, key).cancelled]

    def is_hot(self, name: str, skill: str) -> bool:
        """Whether the worker said that it has the skill loaded."""
        member = self._members.get(name)
        return member is not None and skill in member.hot

    def contract(self, name: str, skill: str) -> Contract:
        """What a worker promised of a skill."""
        member = self._members.get(name)
        return NO_CONTRACT if member is None else member.contract(skill)

    def leave(self, name: str) -> None:
        """The worker takes no more tasks; what it has it may finish."""
        member = self._members.get(name)
        if member is not None and not member.has_left:
            member.has_left = True
            self._say(member, leaving=True)
            self._changed(name)

    def workers(self) -> list[WorkerView]:
        """Who is here, by name."""
        return [
            WorkerView(
                member.name,
                {**member.profile.words, **member.said},
                member.status,
                member.usage,
                member.listed,
                len(member.runs),
                self._room.count(member.name),
                member.reputation,
            )
            for member in sorted(self._members.values(), key=lambda member: member.name)
            if not member.has_left
        ]

    def polls(self, name: str, skills: frozenset[str] | None) -> Member:
        """A worker asks for a task. One that never registered here is taken at its poll's word."""
        member = self._members.get(name)
        if member is None:
            guessed = tuple(sorted(skills or ()))
            known: dict[str, Mapping[str, Json]] = {skill: {} for skill in guessed}
            member = self._enter(Profile(name, guessed, Candidate(name, known)), is_guessed=True)
            if guessed:
                self._greeting.begin(member)
        elif member.has_left:
            member.has_left = False
            self._greeting.begin(member)
        member.heard = self._loop.time()
        return member

    def make_room(self, member: Member, busy: int) -> None:
        """A worker that polls has room: let flow control know when that is more than was thought."""
        if busy > member.concurrency < MOST_CONCURRENCY:
            member.concurrency = min(2 * member.concurrency, MOST_CONCURRENCY)
            if member.profile.skills:
                self._greeting.begin(member)

    def named_by(self, token: str) -> str | None:
        """The worker with that token in the subjects of the broker."""
        return self._by_token.get(token)

    def greet_again(self, name: str | None) -> None:
        """The dispatcher wants a hello of one worker, or of all."""
        for member in self._members.values() if name is None else [self._members[name]]:
            if member.profile.skills and not member.has_left:
                self._greeting.begin(member)

    def greet_for(self, consumer: str) -> None:
        """A queue is not there: it is opened by a hello of somebody who has its skill."""
        log.warning("the queue %s is not there; saying hello", consumer)
        for member in self._members.values():
            if any(self._greeting.consumer(skill) == consumer for skill in member.profile.skills):
                self._greeting.begin(member)
                return

    def ended(self, run: Run) -> None:
        """A worker does not have the task any more."""
        member = self._members.get(run.worker)
        if member is not None:
            member.runs.pop(run.key, None)

    def beat(self, silence_seconds: float, connected: Collection[str]) -> None:
        """Tell of who is alive, and forget who was silent for so long and neither polls nor is connected."""
        now = self._loop.time()
        for member in list(self._members.values()):
            present = self._room.count(member.name) or member.name in connected
            if not present and now - member.heard > silence_seconds:
                log.info("worker %s has been silent for %g s", member.name, silence_seconds)
                self._forget(member)
            elif not member.has_left and member.greeted:
                self._say(member)

    # -- private

    def _known(self, name: str) -> Member:
        member = self._members.get(name)
        if member is None or member.is_guessed:
            raise UnknownWorker(name)
        return member

    def _enter(self, profile: Profile, *, is_guessed: bool) -> Member:
        now = self._loop.time()
        before = self._members.get(profile.name)
        concurrency = max(profile.concurrency, before.concurrency if before else 1)
        member = Member(profile, str(new_id()), now, now, concurrency, is_guessed=is_guessed)
        if before is not None:
            member.runs = before.runs
            member.reputation, member.is_trusted = before.reputation, before.is_trusted
        self._members[profile.name] = member
        self._room.prefer(profile.name, member.preferences())
        self._by_token[subjects.id_token(worker_id(profile.name))] = profile.name
        self._changed(profile.name)
        return member

    def _forget(self, member: Member) -> None:
        if self._members.get(member.name) is member:
            del self._members[member.name]
            self._room.prefer(member.name, {})
            del self._by_token[subjects.id_token(worker_id(member.name))]
            self._changed(member.name)

    def _alive(self, member: Member) -> None:
        member.heard = self._loop.time()
        if not member.beats:
            member.beats = True
            for key in member.runs:
                run = self._runs.get(key)
                if run is not None:
                    run.deadline = 0.0  # from now on its beats keep it

    def _hear(self, member: Member, key: Key) -> Run:
        run = self._runs.get(key)
        if run is None:
            run = self._runs.adopt(key, member.name)
            member.runs[key] = None
        elif run.worker == member.name and not run.cancelled:
            self._runs.heard(run)
        return run

    def _say(self, member: Member, **more: bool) -> None:
        beat = {**member.hello(), "running": len(member.runs), **more}
        self._publish(subjects.beat(worker_id(member.name)), orjson.dumps(beat))
