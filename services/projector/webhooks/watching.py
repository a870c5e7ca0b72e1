"""Which commits somebody wants to hear of: beside the projector, on the commits that it has read anyway.

Until it has caught up with the projector it follows the journal by itself, from its own position.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final
from uuid import UUID

from services.projector.webhooks.outbox import Changes, Message, Outbox, Watched
from shared.application.ports import Journal, StoredCommit
from shared.journal.follow import JournalWentBack

log = logging.getLogger(__name__)

EVENTS: Final = {
    "JobSucceeded": "job_finished",
    "JobFailed": "job_failed",
    "JobTimedOut": "job_failed",
    "JobQuarantined": "job_quarantined",
    "JobCancelled": "job_cancelled",
}
SILENT: Final = {"avtomatika": frozenset({"job_cancelled"})}
"""What an origin's documents do not announce, so that its clients are not told."""
PERSIST_EVERY: Final = 20_000
"""Commits without any news after which the position is kept all the same."""


class Watching:
    """Turns commits into messages. Not to be used from several tasks at once."""

    def __init__(self, outbox: Outbox, now_us: Callable[[], int], news: Callable[[], None]) -> None:
        """`news` is called when there is something to send; it must be quick."""
        self._outbox, self._now, self._news = outbox, now_us, news
        self._watched = outbox.watched()
        self.position = self._stored = outbox.position
        self._beside = False

    async def catch_up(self, journal: Journal, projected: Callable[[], int]) -> None:
        """Follow until the projector is reached; from then on `saw` is enough."""
        if self.position > (last := await journal.last_sequence()):
            self.went_back(last)
        while self.position < projected():
            try:
                async with contextlib.aclosing(journal.follow(self.position)) as batches:  # type: ignore[type-var]
                    async for commits in batches:
                        self._take(commits)
                        if self.position >= projected():
                            break
            except JournalWentBack as back:
                self.went_back(back.last)
        self._beside = True
        log.info("webhooks are derived up to %d", self.position)

    def saw(self, commits: Sequence[StoredCommit]) -> None:
        """The projector has projected these."""
        if self._beside:
            self._take(commits)

    def went_back(self, last: int) -> None:
        """The journal ends at `last` now: an older copy was restored."""
        self.position = min(self.position, last)

    def keep(self) -> None:
        """Keep the position."""
        if self.position != self._stored:
            self._store(Changes({}, [], []))

    def _take(self, commits: Sequence[StoredCommit]) -> None:
        fresh = [commit for commit in commits if commit.sequence > self.position]
        if not fresh:
            return
        changes = self._changes(fresh)
        self.position = fresh[-1].sequence
        if not changes.is_empty or self.position - self._stored >= PERSIST_EVERY:
            self._store(changes)
        if changes.messages:
            self._news()

    def _store(self, changes: Changes) -> None:
        self._outbox.store(changes, self.position, self._now())
        self._stored = self.position

    def _changes(self, commits: Iterable[StoredCommit]) -> Changes:
        changes = Changes({}, [], [])
        for commit in commits:
            # What is not a commit of ours is the projector's to tell; nobody asked to hear of it.
            numbers: tuple[object, object] = (commit.n, commit.at)
            if commit.kind == "job" and all(isinstance(number, int) for number in numbers):
                for version, (topic, data) in enumerate(commit.events, commit.n):
                    if isinstance(data, dict):
                        self._event(changes, commit, version, topic, data)
        return changes

    def _event(
        self, changes: Changes, commit: StoredCommit, version: int, topic: str, data: dict[str, Any]
    ) -> None:
        job = commit.id
        if topic == "JobAccepted":
            url, origin = data.get("webhook_url"), data.get("origin", "native")
            if url and isinstance(url, str) and isinstance(origin, str):
                self._watched[job] = changes.watch[job] = Watched(url, origin)
        elif job in self._watched:
            event = EVENTS.get(topic) or _of_worker(topic, data)
            if event is not None:
                self._announce(changes, commit, version, event)
            if topic in EVENTS:
                del self._watched[job]
                changes.forget.append(job)

    def _announce(self, changes: Changes, commit: StoredCommit, version: int, event: str) -> None:
        watched = self._watched[commit.id]
        if event not in SILENT.get(watched.origin, ()):
            message = Message(
                message_id(commit.id, version),
                commit.id,
                version,
                event,
                watched.url,
                watched.origin,
                commit.at,
            )
            changes.messages.append(message)


def message_id(job: UUID, version: int) -> str:
    """The id of a message: the same whenever it is derived, so that receivers can tell a repetition."""
    return f"msg_{job.hex}_{version}"


def _of_worker(topic: str, data: Any) -> str | None:
    """The name of what a worker told about the job."""
    if topic == "TaskProgressed":
        return "worker_event:progress"
    if topic == "EventEmitted" and str(data.get("by", "")).startswith("worker:"):
        return f"worker_event:{data.get('name')}"
    return None
