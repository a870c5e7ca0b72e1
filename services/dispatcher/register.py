"""The register: workers that come, drain, leave or are lost, as events of their own aggregates."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, cast

from eventsourcing.domain import AggregateEvent

from services.dispatcher.crew import Change, Hello
from shared.application.ports import Decision, Journal, UnknownOutcome, VersionConflict
from shared.domain.worker import Worker, worker_id

MAX_TRIES: Final = 5


class Register:
    """Stores changes of workers; what had happened before is stored once."""

    def __init__(self, journal: Journal, now: Callable[[], datetime]) -> None:
        self._journal, self._now = journal, now

    async def record(self, change: Change, hello: Hello) -> None:
        """Store the change. Raises DomainError or JournalError."""
        for last_try in (False,) * (MAX_TRIES - 1) + (True,):
            recorded = await self._journal.load(Worker, worker_id(hello.name))
            worker = recorded.aggregate if recorded else Worker.named(hello.name, self._now())
            self._decide(worker, change, hello)
            events = cast(Sequence[AggregateEvent], worker.collect_events())
            if not events:
                return
            tip = recorded.tip if recorded else None
            try:
                await self._journal.append(Decision("worker", worker.id, events, f"worker:{hello.name}", tip))
            except (VersionConflict, UnknownOutcome):
                if last_try:
                    raise
            else:
                return

    def _decide(self, worker: Worker, change: Change, hello: Hello) -> None:
        now = self._now()
        if change == "registered":
            worker.register(
                now=now,
                skills=hello.skills,
                concurrency=hello.concurrency,
                labels=hello.labels,
                instance=hello.instance,
            )
        elif change == "draining":
            if worker.is_here:
                worker.drain(now=now)
        elif change == "left":
            worker.leave(now=now)
        else:
            worker.lose(now=now)
