"""The dispatcher's side of the workers' wire, as small as it can be: it releases tasks and answers reports.

What it answers can be steered: `verdict_of` decides each report, and `deaf` makes it answer nothing.
"""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import orjson

from shared.application.clock import now_us
from shared.application.ids import new_id
from shared.broker import subjects
from shared.broker.connection import Connection
from shared.broker.streams import declare_consumer
from shared.domain.worker import worker_id
from tests.support.nats import NatsServer

Report = dict[str, Any]
Verdict = dict[str, Any] | None

GRANTED: Verdict = {"verdict": "granted", "lease_seconds": 60}
ACCEPTED: Verdict = {"verdict": "accepted"}


def accept(report: Report) -> Verdict:
    """What a dispatcher says while nothing is wrong."""
    return GRANTED if report["kind"] == "claim" else ACCEPTED


class FakeDispatcher:
    """Speaks with every worker on one server. Made by `FakeDispatcher.open`."""

    def __init__(self, server: NatsServer, connection: Connection) -> None:
        self.server, self.connection = server, connection
        self.hellos: list[dict[str, Any]] = []
        self.beats: list[dict[str, Any]] = []
        self.reports: list[Report] = []
        self.answered: list[Report] = []
        self.verdict_of: Callable[[Report], Verdict] = accept
        self.hello_of: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda hello: None
        self.deaf = False
        self.beat_seconds = 0.2
        self.ack_wait_seconds = 15.0
        self._changed = asyncio.Event()

    @classmethod
    async def open(cls, server: NatsServer) -> "FakeDispatcher":
        dispatcher = cls(server, await server.connect("dispatcher"))
        await dispatcher.connection.subscribe(subjects.HELLOS, cb=dispatcher._on_hello)
        await dispatcher.connection.subscribe(subjects.BEATS, cb=dispatcher._on_beat)
        await dispatcher.connection.subscribe(subjects.REPORTS, cb=dispatcher._on_report)
        await dispatcher.connection.settle()
        return dispatcher

    async def release(
        self, skill: str, given: Any = None, *, job: UUID | None = None, task: int = 1, **fields: Any
    ) -> UUID:
        """Store a commit that releases a task; the answer is the job's id."""
        job = job or new_id()
        released = {"task": task, "attempt": 1, "node": "main", "skill": skill, "input": given, **fields}
        commit = {
            "id": str(job),
            "kind": "job",
            "n": task,
            "at": now_us(),
            "by": "client:test",
            "prev": None,
            "events": [["JobAccepted", {"skill": skill}], ["TaskReleased", released]],
        }
        subject = subjects.commit_subject("job", job, task, subjects.skill_token(skill))
        await self.connection.jetstream().publish(subject, orjson.dumps(commit))
        return job

    async def release_when_known(self, skill: str, given: Any = None) -> UUID:
        """Release a task once a worker has said hello for its skill and beats."""
        await self.until(lambda: any(skill in beat["skills"] for beat in self.beats))
        return await self.release(skill, given)

    async def declare(self, skill: str) -> None:
        """The skill's queue, as the dispatcher declares it when a worker says hello."""
        await declare_consumer(
            self.connection,
            subjects.JOURNAL,
            {
                "durable_name": subjects.skill_consumer(skill),
                "filter_subject": subjects.skill_filter(skill),
                "ack_policy": "explicit",
                "ack_wait": int(self.ack_wait_seconds * 1e9),
                "max_ack_pending": 5000,
                "max_deliver": -1,
            },
        )

    async def control(self, worker: str, **said: Any) -> None:
        """Say something to one worker."""
        subject = subjects.control(worker_id(worker))
        await self.connection.publish(subject, orjson.dumps(said))

    async def pending(self, skill: str) -> int:
        """Tasks of a skill that are delivered and not acked, or not delivered yet."""
        info = await self.connection.jetstream().consumer_info(
            subjects.JOURNAL, subjects.skill_consumer(skill)
        )
        return (info.num_ack_pending or 0) + (info.num_pending or 0)

    async def waiting(self, skill: str) -> int:
        """How many pulls wait at the queue of a skill."""
        info = await self.connection.jetstream().consumer_info(
            subjects.JOURNAL, subjects.skill_consumer(skill)
        )
        return info.num_waiting or 0

    async def deliveries(self, skill: str) -> int:
        """How often the broker has delivered tasks of a skill, repetitions counted."""
        info = await self.connection.jetstream().consumer_info(
            subjects.JOURNAL, subjects.skill_consumer(skill)
        )
        assert info.delivered is not None
        return int(info.delivered.consumer_seq)

    async def until(self, holds: Callable[[], bool], seconds: float = 40.0) -> None:
        """Wait until something that was told to this dispatcher makes `holds` true."""
        async with asyncio.timeout(seconds):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    async def results(self, count: int, seconds: float = 40.0) -> list[Report]:
        """The first `count` results that were answered."""
        await self.until(lambda: len(self._results()) >= count, seconds)
        return self._results()

    async def all_acked(self, skill: str, seconds: float = 40.0) -> None:
        """Wait until no task of the skill is open at the broker."""
        async with asyncio.timeout(seconds):
            while True:
                if not await self.pending(skill):
                    return
                await asyncio.sleep(0.02)

    def of_kind(self, kind: str) -> list[Report]:
        return [report for report in self.reports if report["kind"] == kind]

    def _results(self) -> list[Report]:
        return [report for report in self.answered if report["kind"] == "result"]

    async def _on_hello(self, message: Any) -> None:
        hello = orjson.loads(message.data)
        self.hellos.append(hello)
        self._changed.set()
        answer = self.hello_of(hello)
        if answer is None:
            for skill in hello["skills"]:
                await self.declare(skill)
            answer = {
                "ok": True,
                "worker_id": str(worker_id(hello["name"])),
                "beat_seconds": self.beat_seconds,
                "queues": [
                    {
                        "skill": skill,
                        "consumer": subjects.skill_consumer(skill),
                        "ack_wait_seconds": self.ack_wait_seconds,
                        "control": subjects.skill_control(skill),
                    }
                    for skill in hello["skills"]
                ],
            }
        await message.respond(orjson.dumps(answer))

    async def _on_beat(self, message: Any) -> None:
        self.beats.append(orjson.loads(message.data))
        self._changed.set()

    async def _on_report(self, message: Any) -> None:
        report = orjson.loads(message.data)
        report["job"] = str(subjects.id_in(message.subject))
        self.reports.append(report)
        verdict = None if self.deaf else self.verdict_of(report)
        if verdict is not None:
            self.answered.append(report)
            await message.respond(orjson.dumps(verdict))
        self._changed.set()
