"""Schedulers over one journal in memory, with a clock that the test moves."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from services.scheduler.avtomatika.jobs import BlueprintFiring
from services.scheduler.clockwork import Clockwork
from shared.application.clock import to_us
from shared.application.definitions import Definitions
from shared.application.expressions import evaluate
from shared.application.ports import Appended, Decision, JournalUnavailable, StoredCommit
from shared.application.publish_workflow import PublishWorkflow
from shared.application.submit import ClosedLanes, Submit
from shared.application.timetables import PublishTimetable
from shared.domain.topics import AGGREGATES, EVENTS
from shared.domain.values import Json
from shared.journal.memory import MemoryJournal
from shared.settings import Settings

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
FLOW: dict[str, Json] = {
    "entry": "start",
    "nodes": {"start": {"kind": "state", "handler": "start"}, "end": {"kind": "end", "outcome": "succeeded"}},
    "edges": [{"from": "start", "port": "done", "to": "end"}],
    "meta": {"input_schema": {"type": "object", "properties": {"n": {"type": "integer"}}}},
}


class Flaky(MemoryJournal):
    """Refuses, or breaks off right after it has stored, when it is told to."""

    down = False
    dies = False

    async def append(self, decision: Decision) -> Appended:
        if self.down:
            raise JournalUnavailable("no room")
        return await super().append(decision)

    def submit(self, decision: Decision) -> tuple[asyncio.Future[int], bytes]:
        if self.down:
            raise JournalUnavailable("no room")
        stored = super().submit(decision)
        if self.dies:
            raise KilledError
        return stored


class KilledError(BaseException):
    """The process is gone."""


class World:
    """One journal, one clock, and schedulers at will."""

    def __init__(self) -> None:
        self.now = NOON
        self.journal = Flaky(EVENTS, AGGREGATES)

    async def publish_flow(self, name: str = "flow") -> None:
        definitions = Definitions(self.journal)
        await PublishWorkflow(self.journal, definitions, lambda: self.now)("default", name, FLOW, "test")

    def firing(self) -> BlueprintFiring:
        submit = Submit(self.journal, ClosedLanes(), evaluate, lambda: self.now)
        settings = Settings.from_env()
        definitions = Definitions(self.journal)
        return BlueprintFiring(self.journal, submit, definitions, settings, lambda: to_us(self.now))

    async def scheduler(self, entries: Mapping[str, Mapping[str, Json]]) -> Clockwork:
        """A scheduler that has just begun."""
        clockwork = Clockwork(self.firing(), lambda: self.now)
        clockwork.set(await self.publish(entries))
        return clockwork

    async def publish(self, entries: Mapping[str, Mapping[str, Json]]) -> Any:
        publish = PublishTimetable(self.journal, lambda: self.now)
        return await publish("default", "test", entries, "system:test")

    async def pass_(self, span: timedelta, *schedulers: Clockwork, step: float = 1.0) -> None:
        """Let time pass in steps; every scheduler looks at each."""
        end = self.now + span
        while self.now < end:
            self.now += timedelta(seconds=step)
            for scheduler in schedulers:
                await scheduler.tick()

    def jobs(self) -> list[StoredCommit]:
        return [commit for commit in self.journal.commits if commit.kind == "job"]

    def planned(self) -> list[str]:
        """The planned times of all jobs there are, in the order in which they came, as HH:MM:SS."""
        accepted = [commit.events[0][1] for commit in self.jobs()]
        return [job["metadata"]["daybook.schedule"]["planned"][11:19] for job in accepted]


def entry(when: dict[str, Json], catch_up: str = "once", **job: Any) -> dict[str, Json]:
    return {
        "when": when,
        "zone": "UTC",
        "catch_up": catch_up,
        "job": {"blueprint": "flow", "input_data": {}, **job},
    }
