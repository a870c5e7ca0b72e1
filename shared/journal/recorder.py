"""The journal as an `ApplicationRecorder` of the library `eventsourcing`: for tools and audit.

It is synchronous and runs its own event loop in a thread. What it writes are commits like all others, one
event each, under the kind `es`, with the opaque state in base64; all events of one `insert_events` are one
atomic batch. It reads any kind: an event of ours gets its fields as JSON for a state.

A notification id is the stream sequence of the commit, so ids grow, and have gaps where others wrote.
"""

import asyncio
import queue
import threading
from base64 import b64decode, b64encode
from collections.abc import Coroutine, Sequence
from itertools import pairwise
from typing import Any, Self, TypeVar
from uuid import UUID

import orjson
from eventsourcing.persistence import (
    ApplicationRecorder,
    IntegrityError,
    Notification,
    OperationalError,
    ProgrammingError,
    StoredEvent,
    Subscription,
)

from shared.application.clock import now_us
from shared.application.ports import BrokenChain, JournalError, StoredCommit
from shared.broker.batches import MOST_MESSAGES, WRONG_LAST_SEQUENCE, Key, publish_batch, stored
from shared.broker.connection import Connection, connect, disconnect
from shared.broker.errors import BrokerError, Refused
from shared.broker.publisher import Publisher
from shared.broker.subjects import aggregate_filter, commit_subject, kind_filter
from shared.journal.chain import prev_of, tip_of
from shared.journal.codec import Codec
from shared.journal.follow import follow
from shared.journal.read import StoredMessage, read_aggregate, read_last, read_range

R = TypeVar("R")

KIND = "es"


class JetStreamRecorder(ApplicationRecorder):
    """Records and reads one kind of aggregate in the journal. Close it, or use it in a `with`."""

    def __init__(
        self, url: str, *, user: str | None, password: str | None, kind: str = KIND, timeout: float = 5.0
    ) -> None:
        """Connect; raises OperationalError when that takes longer than `timeout` seconds."""
        self._kind = kind
        self._timeout = timeout
        self._codec = Codec({}, {})
        self._batches = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="journal-recorder", daemon=True)
        self._thread.start()
        try:
            self._connection, self._publisher = self.run(self._open(url, user, password))
        except OperationalError:
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect and end the thread."""
        if not self._loop.is_closed():
            self.run(disconnect(self._connection))
            self._end()

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Store all or none; the sequences. IntegrityError when a version is taken, OperationalError else.

        After an OperationalError the events may be stored or not: select before inserting again.
        """
        return self.run(self._insert(stored_events)) if stored_events else []

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        commits = self.run(self._select(_uuid(originator_id)))
        events = [event for commit in commits for event in _events(commit)]
        chosen = [
            event
            for event in (reversed(events) if desc else events)
            if (gt is None or event.originator_version > gt)
            and (lte is None or event.originator_version <= lte)
        ]
        return chosen[:limit]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Events from commit `start` on. All events of a commit have its id, so a limit may be exceeded."""
        at = max(start if start is not None else 1, 1)
        if start is not None and not inclusive_of_start:
            at = max(start + 1, 1)
        chosen: list[Notification] = []
        while len(chosen) < limit and (stop is None or at <= stop):
            commits = self.run(self._select_range(at, limit))
            if not commits:
                break
            for commit in commits:
                if len(chosen) < limit and (stop is None or commit.sequence <= stop):
                    chosen += _notifications(commit, topics)
            at = commits[-1].sequence + 1
        return chosen

    def max_notification_id(self) -> int | None:
        return self.run(self._last())

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> "JetStreamSubscription":
        return JetStreamSubscription(self, gt, topics)

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """Run `coroutine` on the recorder's own loop; errors of the broker become the library's."""
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
        except (BrokerError, JournalError) as error:
            raise OperationalError(str(error)) from error

    async def feed(self, after: int, topics: Sequence[str], into: "queue.Queue[Notification | None]") -> None:
        """Put what follows commit `after` into a queue, until cancelled; None in the end."""
        try:
            async for commits in follow(self._connection, self._codec, after, [self._kind]):
                for commit in commits:
                    for notification in _notifications(commit, topics):
                        into.put(notification)
        finally:
            into.put(None)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Start a task on the recorder's own loop."""

        async def start() -> asyncio.Task[None]:
            return asyncio.ensure_future(coroutine)

        return self.run(start())

    def cancel(self, task: "asyncio.Task[None]") -> None:
        """Cancel a task of the recorder's own loop and wait for its end."""

        async def end() -> None:
            task.cancel()
            await asyncio.wait([task])

        self.run(end())

    async def _open(self, url: str, user: str | None, password: str | None) -> tuple[Connection, Publisher]:
        connection = await connect(url, name="recorder", user=user, password=password, timeout=self._timeout)
        return connection, await Publisher.start(connection, timeout=self._timeout)

    async def _insert(self, events: Sequence[StoredEvent]) -> list[int]:
        if len(events) > MOST_MESSAGES:
            raise ProgrammingError(
                f"at most {MOST_MESSAGES} events can be inserted at once, not {len(events)}"
            )
        versions = {(event.originator_id, event.originator_version) for event in events}
        if len(versions) < len(events):
            raise IntegrityError("the same version is inserted twice")
        tips: dict[tuple[UUID, int], bytes] = {}
        messages: list[Key] = []
        at = now_us()
        for event in events:
            id, n = _uuid(event.originator_id), event.originator_version  # noqa: A001
            prev = tips.get((id, n - 1)) or await self._tip(id, n - 1)
            raw = _commit(self._kind, id, n, at, prev, event)
            tips[id, n] = tip_of(raw)
            subject = commit_subject(self._kind, id, n)
            messages.append(Key(subject.encode(), raw, f"{subject.removesuffix('note')}>".encode()))
        self._batches += 1
        batch_id = f"{self._connection.inbox().rpartition('.')[2]}-{self._batches}".encode()
        try:
            last = stored(await publish_batch(self._publisher, batch_id, messages)).sequence
        except Refused as refused:
            if refused.code in WRONG_LAST_SEQUENCE:
                raise IntegrityError("a version is taken") from refused
            raise
        return list(range(last - len(messages) + 1, last + 1))

    async def _tip(self, id: UUID, n: int) -> bytes | None:  # noqa: A002
        """The hash of the commit at version `n`, None when there is none."""
        commits = commit_subject(self._kind, id, n).removesuffix("note") + ">"
        message = await read_last(self._publisher, commits, self._timeout)
        return tip_of(message.data) if message is not None else None

    async def _select(self, id: UUID) -> list[StoredCommit]:  # noqa: A002
        messages = await read_aggregate(self._publisher, aggregate_filter(self._kind, id), self._timeout)
        commits = [self._decode(message) for message in messages]
        for before, commit in pairwise(commits):
            if commit.n == before.last_version + 1 and prev_of(commit.raw) != tip_of(before.raw):
                raise BrokenChain(
                    commit.kind, commit.id, commit.n, "it was not written after the one before it"
                )
        return commits

    async def _select_range(self, start: int, limit: int) -> list[StoredCommit]:
        messages = await read_range(self._publisher, kind_filter(self._kind), start, limit, self._timeout)
        return [self._decode(message) for message in messages]

    async def _last(self) -> int | None:
        message = await read_last(self._publisher, kind_filter(self._kind), self._timeout)
        return message.sequence if message is not None else None

    def _decode(self, message: StoredMessage) -> StoredCommit:
        return self._codec.decode(message.sequence, message.subject, message.data)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class JetStreamSubscription(Subscription[JetStreamRecorder]):
    """Notifications as they are recorded, by anyone. Blocks for the next one until stopped."""

    def __init__(self, recorder: JetStreamRecorder, gt: int | None, topics: Sequence[str]) -> None:
        super().__init__(recorder=recorder, gt=gt, topics=topics)
        self._queue: queue.Queue[Notification | None] = queue.Queue()
        self._task = recorder.spawn(recorder.feed(gt or 0, topics, self._queue))

    def __next__(self) -> Notification:
        notification = None if self._has_been_stopped else self._queue.get()
        if notification is None:
            raise StopIteration
        return notification

    def stop(self) -> None:
        if not self._has_been_stopped:
            super().stop()
            self._recorder.cancel(self._task)


def _uuid(id: UUID | str) -> UUID:  # noqa: A002
    if not isinstance(id, UUID):
        raise ProgrammingError(f"only UUIDs can be ids in the journal, not {id!r}")
    return id


def _commit(kind: str, id: UUID, n: int, at: int, prev: bytes | None, event: StoredEvent) -> bytes:  # noqa: A002
    return orjson.dumps(
        {
            "id": str(id),
            "kind": kind,
            "n": n,
            "at": at,
            "by": "recorder",
            "prev": prev.hex() if prev is not None else None,
            "events": [[event.topic, b64encode(event.state).decode()]],
        }
    )


def _events(commit: StoredCommit) -> list[StoredEvent]:
    return [
        StoredEvent(
            originator_id=commit.id, originator_version=version, topic=topic, state=_state(commit, index)
        )
        for index, (version, (topic, _)) in enumerate(enumerate(commit.events, commit.n))
    ]


def _notifications(commit: StoredCommit, topics: Sequence[str]) -> list[Notification]:
    return [
        Notification(
            id=commit.sequence,
            originator_id=event.originator_id,
            originator_version=event.originator_version,
            topic=event.topic,
            state=event.state,
        )
        for event in _events(commit)
        if not topics or event.topic in topics
    ]


def _state(commit: StoredCommit, index: int) -> bytes:
    """The state as it was given to us, or the fields of an event of ours as JSON.

    They are as they were stored; the library's mapper upcasts them by the class version that stands beside.
    """
    _, fields = commit.events[index]
    _, stored_state, *version = orjson.loads(commit.raw)["events"][index]
    if isinstance(stored_state, str):
        return b64decode(stored_state)
    return orjson.dumps({**fields, "class_version": version[0]} if version else fields)
