"""Getting encoded decisions into the stream, durably and cheaply.

Every decision's first commit carries the expectation that nothing is stored under its version yet. That is
enough for the whole decision: a later commit of it can only be taken if the first one is.

Two ways, by what an acknowledgement costs the server:

- **pipelined**: single publishes, as many in flight as callers. A batch would only add about a millisecond.
- **measured** (each write synced to disk): singles while few wait, one atomic batch, synced once, when many
  do. When one decision of a batch lost a race the server takes nothing of it, so it is sent again in halves
  until the loser stands alone.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol
from uuid import UUID

from shared.application.ports import JournalError, JournalUnavailable, UnknownOutcome, VersionConflict
from shared.broker.batches import (
    MOST_MESSAGES,
    WRONG_LAST_SEQUENCE,
    Key,
    batch,
    single,
    stored,
)
from shared.broker.errors import BrokerError, NoAnswer, NoResponders, NotSent, Refused
from shared.broker.messages import Message
from shared.broker.publisher import Outgoing, Publisher
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
    def key(self) -> tuple[str, int]:
        """Which aggregate it is about. An integer hashes in a tenth of the time of a UUID."""
        return self.kind, self.id.int

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
        self._batches = _Batches(publisher)

    def put(self, entry: Entry) -> None:
        def settle(answer: Message | BrokerError) -> None:
            outcome = _outcome(answer)
            if isinstance(outcome, int):
                entry.succeed(outcome)
            else:
                entry.fail(_error(entry, outcome))

        timeout = max(0.0, entry.deadline - self._loop.time())
        self._publisher.ask(self._batches.lines(entry.messages), settle, timeout)


class MeasuredCommits:
    """Where each write is synced: single publishes up to a measured point, one atomic batch beyond it.

    A stream syncs singles one after the other, so n of them take n times as long as one. A batch is synced
    once, but has a price of its own, whatever its size: the server stages it in files that it makes and
    deletes (1 ms on some disks, 9 ms where deleting a file is slow). Both prices are measured as work goes
    by; their ratio is the *window*: up to so many singles are on their way at once, and when more than that
    wait they go as one batch. Decisions of several commits need a batch always.
    """

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._loop = asyncio.get_running_loop()
        self._batches = _Batches(publisher)
        self._queue: deque[Entry] = deque()
        self._busy: set[tuple[str, int]] = set()
        self._singles = 0
        self._several = 0
        self._batching = False
        self._scheduled = False
        self._prices = Prices()
        self._answered = 0.0

    def put(self, entry: Entry) -> None:
        self._queue.append(entry)
        self._several += len(entry.messages) > 1
        self._schedule()

    def _schedule(self) -> None:
        if self._queue and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._send_waiting)  # what is decided in this turn of the loop goes along

    def _send_waiting(self) -> None:
        self._scheduled = False
        window = self._prices.window
        if not self._batching and (self._several or len(self._queue) + self._singles > window):
            group = self._collect(GROUP_MESSAGES, alone=False)
            if len(group) > 1 or (group and len(group[0].messages) > 1):
                self._batching = True
                self._send(group, partial(self._batch_done, self._loop.time()))
            elif group:
                self._send_single(group[0])
        if self._queue and self._singles < window:
            for entry in self._collect(window - self._singles, alone=True):
                self._send_single(entry)

    def _send_single(self, entry: Entry) -> None:
        self._singles += 1
        self._send([entry], partial(self._single_done, self._loop.time()))

    def _collect(self, most: int, *, alone: bool) -> list[Entry]:
        """The next decisions to send, in order, at most `most` messages; `alone`: of one commit only.

        Never two decisions about one aggregate at a time: the server checks expectations against what is
        stored, not inside a batch, so two with the same version would both be taken.
        """
        now = self._loop.time()
        group: list[Entry] = []
        held: list[Entry] = []
        busy = self._busy
        messages = size = 0
        while self._queue:
            entry = self._queue[0]
            if group and (messages + len(entry.messages) > most or size + entry.size > GROUP_BYTES):
                break
            self._queue.popleft()
            if entry.deadline <= now:
                self._several -= len(entry.messages) > 1
                entry.fail(JournalUnavailable(f"{entry.kind} {entry.id} was not sent in time"))
            elif entry.key in busy or (alone and len(entry.messages) > 1):
                held.append(entry)
            else:
                self._several -= len(entry.messages) > 1
                busy.add(entry.key)
                group.append(entry)
                messages += len(entry.messages)
                size += entry.size
        self._queue.extendleft(reversed(held))
        return group

    def _send(self, group: list[Entry], done: "_Done") -> None:
        """Send `group`, as one batch if it is more than one message; settle its entries, then call `done`."""
        messages = [message for entry in group for message in entry.messages]

        def settle(answer: Message | BrokerError) -> None:
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

        timeout = max(0.0, min([entry.deadline for entry in group]) - self._loop.time())
        self._publisher.ask(self._batches.lines(messages), settle, timeout)

    def _send_halves(self, group: list[Entry], done: "_Done") -> None:
        """One decision of `group` lost a race, so nothing of it was taken: send it in parts."""
        middle = len(group) // 2
        waiting = 2

        def half_done(_half: list[Entry]) -> None:
            nonlocal waiting
            waiting -= 1
            if not waiting:
                done(group)

        self._send(group[:middle], half_done)
        self._send(group[middle:], half_done)

    def _single_done(self, sent: float, group: list[Entry]) -> None:
        now = self._loop.time()
        # Singles that are on their way together are synced in turn: each costs what lies between answers.
        self._prices.single_took(now - max(sent, self._answered))
        self._answered = now
        self._singles -= 1
        self._over(group)

    def _batch_done(self, sent: float, group: list[Entry]) -> None:
        self._prices.batch_took(self._loop.time() - sent)
        self._batching = False
        self._over(group)

    def _over(self, group: list[Entry]) -> None:
        self._busy.difference_update([entry.key for entry in group])
        self._schedule()


class Prices:
    """What a single write and a batch cost in seconds, as moving averages of what they took lately."""

    def __init__(self) -> None:
        self._single = 0.0002
        self._batch = 0.004
        self.window = 20
        """How many singles cost as much as one batch; from 4 to 128."""

    def single_took(self, seconds: float) -> None:
        """One more single was answered, so long after the one before it."""
        self._single += 0.02 * (min(seconds, 0.01) - self._single)

    def batch_took(self, seconds: float) -> None:
        """One more batch was answered."""
        self._batch += 0.2 * (min(seconds, 0.1) - self._batch)
        self.window = max(4, min(128, round(self._batch / max(self._single, 1e-6))))


class _Done(Protocol):
    def __call__(self, group: list[Entry], /) -> None: ...


class _Batches:
    """Messages as they are sent: a batch when there are several, whose id is unique on the server."""

    def __init__(self, publisher: Publisher) -> None:
        self._prefix = publisher.connection.inbox().rpartition(".")[2].encode()
        self._number = 0

    def lines(self, messages: Sequence[Key]) -> list[Outgoing]:
        if len(messages) == 1:
            return single(messages[0])
        self._number += 1
        return batch(b"%b-%d" % (self._prefix, self._number), messages)


def _outcome(answer: Message | BrokerError) -> int | BrokerError:
    """The sequence of the last message, or why there is none."""
    if isinstance(answer, BrokerError):
        return answer
    try:
        return stored(answer).sequence
    except Refused as refused:
        return refused


def _error(entry: Entry, outcome: BrokerError) -> JournalError:
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
