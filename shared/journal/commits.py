"""Getting encoded decisions into the stream, durably and cheaply.

Every decision's first commit carries the expectation that nothing is stored under its version yet. That is
enough for the whole decision: a later commit of it can only be taken if the first one is.

Two ways, by what an acknowledgement costs the server:

- **pipelined**: single publishes, as many in flight as callers. A batch would only add about a millisecond.
- **grouped** (each write synced to disk): what waits is collected into one atomic batch, one sync for all,
  while the batch before it is on its way: group commit. When one decision of a group lost a race the
  server takes nothing of the group, so it is sent again in halves until the loser stands alone.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from shared.application.ports import JournalError, JournalUnavailable, UnknownOutcome, VersionConflict
from shared.broker.batches import (
    MOST_MESSAGES,
    WRONG_LAST_SEQUENCE,
    Key,
    publish_batch,
    publish_unique,
    stored,
)
from shared.broker.errors import NoAnswer, NoResponders, NotSent, Refused
from shared.broker.messages import Message
from shared.broker.publisher import Publisher
from shared.journal.codec import EncodedCommit

GROUP_MESSAGES = 250
GROUP_BYTES = 2 * 1024 * 1024


@dataclass(slots=True, eq=False)
class Entry:
    """One decision on its way; `done` becomes the stream sequence of its last commit, or the error."""

    kind: str
    id: UUID
    n: int
    messages: list[Key]
    size: int
    deadline: float
    done: "asyncio.Future[int]" = field(repr=False)

    @property
    def key(self) -> tuple[str, UUID]:
        return self.kind, self.id

    def fail(self, error: JournalError) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def succeed(self, sequence: int) -> None:
        if not self.done.done():
            self.done.set_result(sequence)


class Commits(Protocol):
    """Takes encoded decisions and stores each whole or not at all."""

    def put(self, entry: Entry) -> None:
        """Store it; `entry.done` tells the outcome, at the latest at `entry.deadline`."""
        ...


def messages_of(commits: Sequence[EncodedCommit]) -> list[Key]:
    """The commits of one decision as messages; the first is unique by its version."""
    first, *rest = commits
    return [
        Key(first.subject.encode(), first.raw, first.unique.encode()),
        *(Key(commit.subject.encode(), commit.raw, None) for commit in rest),
    ]


class PipelinedCommits:
    """Every decision by itself, all at once."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._loop = asyncio.get_running_loop()
        self._batches = _BatchIds(publisher)

    def put(self, entry: Entry) -> None:
        timeout = max(0.0, entry.deadline - self._loop.time())
        if len(entry.messages) == 1:
            answer = publish_unique(self._publisher, entry.messages[0], timeout)
        else:
            answer = publish_batch(self._publisher, self._batches.next(), entry.messages, timeout)

        def settle(answer: asyncio.Future[Message]) -> None:
            outcome = _outcome(answer)
            if isinstance(outcome, int):
                entry.succeed(outcome)
            else:
                entry.fail(_error(entry, outcome))

        answer.add_done_callback(settle)


class GroupedCommits:
    """Adaptive group commit: at most `in_flight` batches on their way, the rest collects meanwhile."""

    def __init__(self, publisher: Publisher, in_flight: int = 1) -> None:
        self._publisher = publisher
        self._loop = asyncio.get_running_loop()
        self._batches = _BatchIds(publisher)
        self._queue: deque[Entry] = deque()
        self._busy: set[tuple[str, UUID]] = set()
        self._free = in_flight
        self._scheduled = False

    def put(self, entry: Entry) -> None:
        self._queue.append(entry)
        self._schedule()

    def _schedule(self) -> None:
        if self._queue and self._free and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._send_group)  # what is decided in this turn of the loop goes along

    def _send_group(self) -> None:
        self._scheduled = False
        while self._free and (group := self._collect()):
            self._free -= 1
            self._send(group, self._group_done)

    def _collect(self) -> list[Entry]:
        """The next group, in order. Never two decisions about one aggregate at a time.

        The server checks expectations against what is stored, not inside a batch: two with the same
        version would both be taken.
        """
        now = self._loop.time()
        group: list[Entry] = []
        held: list[Entry] = []
        busy = self._busy
        messages = size = 0
        while self._queue:
            entry = self._queue[0]
            if group and (messages + len(entry.messages) > GROUP_MESSAGES or size + entry.size > GROUP_BYTES):
                break
            self._queue.popleft()
            if entry.deadline <= now:
                entry.fail(JournalUnavailable(f"{entry.kind} {entry.id} was not sent in time"))
            elif entry.key in busy:
                held.append(entry)
            else:
                busy.add(entry.key)
                group.append(entry)
                messages += len(entry.messages)
                size += entry.size
        self._queue.extendleft(reversed(held))
        return group

    def _send(self, group: list[Entry], done: "_Done") -> None:
        """Send `group` as one batch; settle each of its entries, then call `done`."""
        timeout = max(0.0, min(entry.deadline for entry in group) - self._loop.time())
        messages = [message for entry in group for message in entry.messages]
        if len(messages) == 1:
            answer = publish_unique(self._publisher, messages[0], timeout)
        else:
            answer = publish_batch(self._publisher, self._batches.next(), messages, timeout)

        def settle(answer: asyncio.Future[Message]) -> None:
            outcome = _outcome(answer)
            if isinstance(outcome, int):
                # a batch takes consecutive sequences; the answer tells the last
                sequence = outcome - len(messages)
                for entry in group:
                    sequence += len(entry.messages)
                    entry.succeed(sequence)
            elif isinstance(outcome, Refused) and len(group) > 1:
                self._send_halves(group, done)
                return
            else:
                for entry in group:
                    entry.fail(_error(entry, outcome))
            done(group)

        answer.add_done_callback(settle)

    def _send_halves(self, group: list[Entry], done: "_Done") -> None:
        middle = len(group) // 2
        waiting = 2

        def half_done(_half: list[Entry]) -> None:
            nonlocal waiting
            waiting -= 1
            if not waiting:
                done(group)

        self._send(group[:middle], half_done)
        self._send(group[middle:], half_done)

    def _group_done(self, group: list[Entry]) -> None:
        self._free += 1
        self._busy.difference_update(entry.key for entry in group)
        self._schedule()


class _Done(Protocol):
    def __call__(self, group: list[Entry], /) -> None: ...


class _BatchIds:
    """Ids of batches, unique on the server: the publisher's own inbox and a number."""

    def __init__(self, publisher: Publisher) -> None:
        self._prefix = publisher.connection.inbox().rpartition(".")[2].encode()
        self._number = 0

    def next(self) -> bytes:
        self._number += 1
        return b"%b-%d" % (self._prefix, self._number)


def _outcome(answer: "asyncio.Future[Message]") -> int | BaseException:
    """The sequence of the last message, or why there is none."""
    error = asyncio.CancelledError() if answer.cancelled() else answer.exception()
    if error is not None:
        return error
    try:
        return stored(answer.result()).sequence
    except Refused as refused:
        return refused


def _error(entry: Entry, outcome: BaseException) -> JournalError:
    """What to tell the one who wanted `entry` stored."""
    match outcome:
        case Refused(code=code) if code in WRONG_LAST_SEQUENCE:
            return VersionConflict(entry.kind, entry.id, entry.n)
        case Refused() | NotSent() | NoResponders():
            return JournalUnavailable(f"{entry.kind} {entry.id} is not stored: {outcome}")
        case NoAnswer():
            return UnknownOutcome(entry.kind, entry.id, entry.n)
        case _:
            return UnknownOutcome(entry.kind, entry.id, entry.n)


assert GROUP_MESSAGES <= MOST_MESSAGES
