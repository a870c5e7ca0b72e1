"""Which commits somebody wants to hear of: beside the projector, on the commits that it has read anyway."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final
from uuid import UUID

from services.projector.beside import Trailing
from services.projector.webhooks.outbox import Changes, Message, Outbox, Watched
from shared.application.ports import StoredCommit

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


class Watching(Trailing):
    """Turns commits into messages. Not to be used from several tasks at once."""

    def __init__(self, outbox: Outbox, now_us: Callable[[], int], news: Callable[[], None]) -> None:
        """`news` is called when there is something to send; it must be quick."""
        super().__init__("webhooks", outbox.position)
        self._outbox, self._now, self._news = outbox, now_us, news
        self._watched = outbox.watched()
        self._stored = self.position

    def keep(self) -> None:
        """Keep the position."""
        if self.position != self._stored:
            self._store(Changes({}, [], []))

    def take(self, fresh: Sequence[StoredCommit]) -> None:
        changes = self._changes(fresh)
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
