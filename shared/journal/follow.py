"""Following the journal: every commit once, in order, without a gap, whatever breaks.

A follower is an ephemeral pull consumer without acknowledgements. Its messages are numbered, so a lost one
shows; then, and after each reconnect, a new consumer begins behind the last commit that was handed out.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection

from shared.application.ports import JournalError, StoredCommit
from shared.broker.connection import Connection
from shared.broker.errors import BrokerError
from shared.broker.pulls import PullSource
from shared.broker.streams import Settings, api
from shared.broker.subjects import JOURNAL, kind_filter
from shared.journal.codec import Codec

WINDOW = 1024
RETRY_SECONDS = 0.25
INACTIVE_SECONDS = 60

log = logging.getLogger(__name__)


class JournalWentBack(JournalError):
    """The journal ends before the position to follow from: it was restored from an older copy.

    Whatever was derived from it must be built anew from sequence 0.
    """

    def __init__(self, after: int, last: int) -> None:
        super().__init__(f"the journal ends at {last}, before position {after}")
        self.after, self.last = after, last


async def follow(
    connection: Connection, codec: Codec, after: int, kinds: Collection[str], gather_seconds: float = 0.0
) -> AsyncIterator[list[StoredCommit]]:
    """Natural batches of commits behind stream sequence `after`, for ever. Raises JournalWentBack.

    Commits that come faster than each `gather_seconds` are fetched together (`PullSource`).
    """
    position = after
    while True:
        try:
            follower = await _Follower.open(connection, position, kinds, gather_seconds)
        except BrokerError as error:
            log.debug("cannot follow the journal yet: %s", error)
            await asyncio.sleep(RETRY_SECONDS)
            continue
        try:
            async for batch in follower.batches():
                position = batch[-1][0]
                yield [codec.decode(sequence, subject, data) for sequence, subject, data in batch]
        finally:
            await follower.close()


class _Follower:
    """One consumer's life: from its making to the first sign that a message may be lost."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name
        self._source: PullSource | None = None
        self._broken = False

    @classmethod
    async def open(
        cls, connection: Connection, after: int, kinds: Collection[str], gather: float
    ) -> "_Follower":
        state = (await api(connection, f"STREAM.INFO.{JOURNAL}"))["state"]
        if state["last_seq"] < after:
            raise JournalWentBack(after, state["last_seq"])
        name = "follow_" + connection.inbox().rpartition(".")[2]
        follower = cls(connection, name)
        connection.on_lost.append(follower._end)
        try:
            await api(connection, f"CONSUMER.CREATE.{JOURNAL}.{name}", _settings(name, after, kinds))
            source = await PullSource.open(connection, JOURNAL, name, window=WINDOW, gather=gather)
        except BaseException:
            connection.on_lost.remove(follower._end)
            raise
        source.on_missing = follower._end
        follower._source = source
        if follower._broken:
            source.finish()
        return follower

    async def batches(self) -> AsyncIterator[list[tuple[int, str, bytes]]]:
        """(sequence, subject, data) of each commit, until one may have been lost."""
        assert self._source is not None
        expected = 1
        async for messages in self._source.batches():
            batch = []
            for message in messages:
                # $JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<consumer sequence>.<time>.<pending>
                parts = message.reply.rsplit(".", 5)
                if int(parts[3]) != expected:
                    log.info("a commit is missing before sequence %s; following anew", parts[2])
                    self._broken = True
                    break
                expected += 1
                batch.append((int(parts[2]), message.subject, message.data))
            if batch:
                yield batch
            if self._broken:
                return

    async def close(self) -> None:
        if self._end in self._connection.on_lost:
            self._connection.on_lost.remove(self._end)
        if self._source is not None:
            await self._source.stop()
        if self._connection.is_connected:
            await self._connection.publish(f"$JS.API.CONSUMER.DELETE.{JOURNAL}.{self._name}", b"")

    def _end(self) -> None:
        self._broken = True
        if self._source is not None:
            self._source.finish()


def _settings(name: str, after: int, kinds: Collection[str]) -> Settings:
    config: Settings = {
        "name": name,
        "ack_policy": "none",
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": after + 1,
        "replay_policy": "instant",
        "inactive_threshold": INACTIVE_SECONDS * 1_000_000_000,
        "mem_storage": True,
        "num_replicas": 1,
    }
    if kinds:
        config["filter_subjects"] = sorted(kind_filter(kind) for kind in kinds)
    return {"stream_name": JOURNAL, "config": config}
