"""The API over a journal in memory, a read model that is never behind, a dispatcher that decides at once."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
from starlette.types import Message, Scope

from services.api.bodies import BodyLimits
from services.api.front import FrontDoor
from services.api.http import Parts, server_of
from services.api.lanes import Lanes, LanesNews
from services.api.principals import Authenticator, Principal
from services.api.system_routes import Check
from services.api.watch import Follower
from shared.application.clock import utc_now
from shared.application.collecting import collected
from shared.application.commands import CommandAnswer, DispatcherSilent
from shared.application.definitions import Definitions
from shared.application.expressions import evaluate
from shared.application.ports import Decision
from shared.application.publish_workflow import PublishWorkflow
from shared.application.reputation import Standing
from shared.application.submit import Submit, summary_of
from shared.application.summary import JobSummary, WorkerSummary, WorkflowSummary
from shared.domain.errors import DomainError
from shared.domain.graph import Graph
from shared.domain.job.job import Job
from shared.domain.job.spec import Facts
from shared.domain.topics import AGGREGATES, EVENTS
from shared.journal.memory import MemoryJournal
from shared.readmodels.errors import InvalidCursor, ReadModelUnavailable
from shared.readmodels.queries import JobFilter, Measures, Page
from shared.readmodels.tallies import of_beginning, of_end

TOKENS = {
    "token-a": Principal("alice", "a", frozenset({"client"})),
    "token-b": Principal("bob", "b", frozenset({"client"})),
    "token-auditor": Principal("ann", "a", frozenset({"auditor"})),
    "token-suspended": Principal("sid", "a", frozenset({"client", "suspended"})),
    "token-nobody": Principal("nob", "a", frozenset()),
}


class CurrentReads:
    """The read model's answers, folded anew from the journal for each question."""

    def __init__(self, journal: MemoryJournal) -> None:
        self._journal = journal
        self.broken = False
        self.behind = False
        self.old: dict[UUID, JobSummary | None] = {}
        """Rows that stay as they were."""

    async def job(self, id: UUID) -> JobSummary | None:  # noqa: A002
        self._check()
        if id in self.old:
            return self.old[id]
        return None if self.behind else summary_of(id, await self._journal.history("job", id))

    async def page(self, wanted: JobFilter, limit: int = 50, cursor: str | None = None) -> Page:
        self._check()
        if cursor is not None and not cursor.isdigit():
            raise InvalidCursor(cursor)
        found = [job for job in await self._all() if _fits(job, wanted)]
        found.sort(key=lambda job: job.first_sequence, reverse=True)
        start = int(cursor or 0)
        following = str(start + limit) if len(found) > start + limit else None
        return Page(found[start : start + limit], following)

    async def counts(self, tenant: str | None = None, owner: str | None = None) -> dict[str, int]:
        self._check()
        counts: dict[str, int] = {}
        for job in await self._all():
            if tenant in (None, job.tenant) and owner in (None, job.owner):
                counts[job.status] = counts.get(job.status, 0) + 1
        return counts

    async def measures(self) -> Measures:
        self._check()
        found = Measures({}, {})
        for job in await self._all():
            counts = found.counts.setdefault(job.workflow or "", {})
            counts[job.status] = counts.get(job.status, 0) + 1
            told = list(of_beginning(job)) + (list(of_end(job)) if job.is_ended else [])
            tallies = found.tallies.setdefault(job.workflow or "", {})
            for name, n in told:
                tallies[name] = tallies.get(name, 0) + n
        return found

    async def poison_count(self) -> int:
        self._check()
        return 0

    async def standings(self, workers: Collection[UUID]) -> dict[UUID, Standing]:
        return {}

    async def workers(self) -> list[WorkerSummary]:
        self._check()
        return [WorkerSummary("w", "w1")]

    async def workflows(self, tenant: str) -> list[WorkflowSummary]:
        self._check()
        found: dict[UUID, WorkflowSummary] = {}
        for commit in self._journal.commits:
            if commit.kind == "workflow":
                summary = found.setdefault(commit.id, WorkflowSummary(str(commit.id)))
                for topic, data in commit.events:
                    summary.apply(topic, data, commit.at, commit.sequence)
        return [summary for summary in found.values() if summary.tenant == tenant]

    async def position(self) -> int:
        self._check()
        return await self._journal.last_sequence()

    async def wait_for(self, sequence: int, timeout: float) -> bool:
        self._check()
        return not self.behind and await self._journal.last_sequence() >= sequence

    async def _all(self) -> list[JobSummary]:
        ids = {commit.id for commit in self._journal.commits if commit.kind == "job"}
        return [job for id in ids if (job := await self.job(id)) is not None]  # noqa: A001

    def _check(self) -> None:
        if self.broken:
            raise ReadModelUnavailable("no store yet")


def _fits(job: JobSummary, wanted: JobFilter) -> bool:
    return (
        job.tenant == wanted.tenant
        and (not wanted.statuses or job.status in wanted.statuses)
        and (wanted.workflow is None or job.workflow == wanted.workflow)
        and (wanted.skill is None or job.skill == wanted.skill)
        and all(job.tags.get(name) == value for name, value in wanted.tags)
    )


class InlineDispatcher:
    """Decides commands at once, as the dispatcher would. `silent` makes it answer nothing."""

    def __init__(self, journal: MemoryJournal) -> None:
        self._journal = journal
        self.silent = False
        self.asked: list[Mapping[str, Any]] = []

    async def ask(self, job: UUID, command: Mapping[str, Any]) -> CommandAnswer:
        self.asked.append(command)
        if self.silent:
            raise DispatcherSilent("no answer")
        recorded = await self._journal.load(Job, job)
        if recorded is None:
            return CommandAnswer(ok=False, code="not_found", message="no such job")
        aggregate, facts = recorded.aggregate, Facts(utc_now(), Graph.of_skill("x"), evaluate)
        try:
            match command["command"]:
                case "cancel":
                    aggregate.cancel(facts, command["reason"], command["by"])
                case "pause":
                    aggregate.pause(facts, command["by"])
                case "resume":
                    aggregate.resume(facts, command["by"])
                case "signal":
                    aggregate.signal(command["name"], command["payload"], facts, command["by"])
                case "approve":
                    aggregate.approve(command["decision"], facts, command["by"], command.get("name"))
        except DomainError as error:
            return CommandAnswer(ok=False, code="illegal", message=str(error))
        events = collected(aggregate)
        sequence = recorded.sequence
        if events:
            decision = Decision("job", job, events, command["by"], recorded.tip)
            sequence = (await self._journal.append(decision)).sequence
        return CommandAnswer(True, sequence, aggregate.status, bool(events))


@dataclass
class World:
    """The server and what stands around it."""

    journal: MemoryJournal = field(default_factory=lambda: MemoryJournal(EVENTS, AGGREGATES))
    lanes: Lanes = field(default_factory=Lanes)
    limits: BodyLimits = field(default_factory=BodyLimits)
    checks: Mapping[str, Check] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.reads = CurrentReads(self.journal)
        self.dispatcher = InlineDispatcher(self.journal)
        self.follower = Follower(self.journal, linger_seconds=0.01)
        definitions = Definitions(self.journal)
        self.parts = Parts(
            journal=self.journal,
            reads=self.reads,
            dispatcher=self.dispatcher,
            submit=Submit(self.journal, self.lanes, evaluate, utc_now),
            definitions=definitions,
            publish=PublishWorkflow(self.journal, definitions, utc_now),
            follower=self.follower,
            authenticator=Authenticator(TOKENS),
            limits=self.limits,
            checks=self.checks,
            heartbeat_seconds=0.05,
        )
        self.server: FrontDoor = server_of(self.parts)

    def open_lane(self, skill: str, room: int) -> None:
        self.lanes.heard(LanesNews(len(self.journal.commits), {skill: room}))

    def client(self, token: str | None = "token-a") -> httpx.AsyncClient:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        transport = httpx.ASGITransport(app=self.server)
        return httpx.AsyncClient(transport=transport, base_url="http://daybook", headers=headers)

    async def stream(self, path: str, token: str = "token-a") -> AsyncIterator[str]:
        """The chunks of an answer as they are sent, for answers that do not end by themselves."""
        sent: asyncio.Queue[Message] = asyncio.Queue()
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer {token}".encode())],
        }

        async def receive() -> Message:
            return await asyncio.Future()

        serving = asyncio.create_task(self.server(scope, receive, sent.put))
        try:
            while True:
                async with asyncio.timeout(30):
                    message = await sent.get()
                if message["type"] == "http.response.body":
                    if message.get("body"):
                        yield message["body"].decode()
                    if not message.get("more_body"):
                        break
            await serving
        finally:
            serving.cancel()

    async def succeed(self, job: str | UUID, output: Any = None, skill: str = "resize") -> None:
        """Do what a worker and the dispatcher would: release the first task if need be, let it succeed."""
        job_id = UUID(str(job))
        recorded = await self.journal.load(Job, job_id)
        assert recorded is not None
        aggregate, facts = recorded.aggregate, Facts(utc_now(), Graph.of_skill(skill), evaluate)
        if aggregate.status == "queued" and any(
            type(e).__name__ == "HeldTask" for e in aggregate.outstanding()
        ):
            aggregate.release(1, facts)
        aggregate.claim(1, 1, "w1", timedelta(seconds=60), facts)
        aggregate.succeed(1, 1, "w1", output, facts)
        await self.journal.append(Decision("job", job_id, collected(aggregate), "worker:w1", recorded.tip))

    async def succeed_next(self, output: Any = None) -> UUID:
        """Wait for the next job to be accepted, and let it succeed."""
        known = len(self.journal.commits)
        async for commits in self.journal.follow(known, ("job",)):
            job = commits[0].id
            await self.succeed(job, output)
            return job
        raise AssertionError("following never ends")


@asynccontextmanager
async def world(**parts: Any) -> AsyncIterator[World]:
    """A world whose tasks are ended with it."""
    made = World(**parts)
    try:
        yield made
    finally:
        await made.follower.close()
        await asyncio.sleep(0)
