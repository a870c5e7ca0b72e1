"""Snapshots in the stream SNAPSHOTS: one message an aggregate, the newest."""

import asyncio
from collections.abc import Collection, Mapping
from uuid import UUID

from shared.application.ports import JournalError, JournalUnavailable
from shared.broker.batches import stored
from shared.broker.errors import BrokerError
from shared.broker.publisher import Publisher
from shared.broker.streams import api
from shared.broker.subjects import SNAPSHOTS, snapshot
from shared.journal.read import read_last

HEADER_ROOM = 1024


class TooLarge(JournalError):
    """A snapshot is larger than the broker takes a message. The aggregate is loaded from its commits."""

    def __init__(self, kind: str, id: UUID, size: int) -> None:  # noqa: A002
        super().__init__(f"the snapshot of {kind} {id} has {size} bytes, more than the broker takes")


class JetStreamSnapshots:
    """`SnapshotStore` on the broker, so that any machine may load from what another one took."""

    def __init__(self, publisher: Publisher, timeout: float = 5.0) -> None:
        self._publisher = publisher
        self._timeout = timeout

    async def get(self, kind: str, id: UUID) -> bytes | None:  # noqa: A002
        try:
            message = await read_last(self._publisher, snapshot(kind, id), self._timeout, SNAPSHOTS)
        except BrokerError as error:
            raise JournalUnavailable(str(error)) from error
        return message.data if message is not None else None

    async def put(self, snapshots: Mapping[tuple[str, UUID], bytes]) -> None:
        most = self._publisher.connection.max_payload - HEADER_ROOM
        fitting = {key: raw for key, raw in snapshots.items() if len(raw) <= most}
        answers = [
            self._publisher.request(snapshot(kind, id_), raw, timeout=self._timeout)
            for (kind, id_), raw in fitting.items()
        ]
        try:
            for answer in await asyncio.gather(*answers):
                stored(answer)
        except BrokerError as error:
            raise JournalUnavailable(f"not every snapshot is kept: {error}") from error
        for (kind, id_), raw in snapshots.items():
            if len(raw) > most:
                raise TooLarge(kind, id_, len(raw))

    async def remove(self, keys: Collection[tuple[str, UUID]]) -> None:
        connection = self._publisher.connection
        try:
            for kind, id_ in keys:
                purge = {"filter": snapshot(kind, id_)}
                await api(connection, f"STREAM.PURGE.{SNAPSHOTS}", purge, timeout=self._timeout)
        except BrokerError as error:
            raise JournalUnavailable(f"not every snapshot is removed: {error}") from error
