"""The journal on JetStream keeps the contract, in both durability modes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.application.ids import new_id
from shared.application.ports import JournalUnavailable, StoredCommit
from shared.broker.connection import Connection
from shared.broker.embedded import Sync
from shared.broker.errors import BrokerError
from shared.broker.publisher import Publisher
from shared.broker.streams import api
from shared.broker.subjects import commit_subject, snapshot
from shared.journal.codec import Codec
from shared.journal.journal import JetStreamJournal
from shared.journal.snapshot_stream import JetStreamSnapshots, TooLarge
from shared.journal.snapshots import Snapshots
from tests.contract.journal.contract import JournalContract, Tamper
from tests.contract.journal.ledger import EVENTS, KINDS, LEDGER
from tests.contract.journal.snapshots import LONG, SnapshotContract, kept, load, snapshots_in
from tests.support.nats import NatsServer, serve

pytestmark = pytest.mark.connected


class JetStreamContract(JournalContract):
    sync: Sync

    @pytest.fixture
    async def server(self, tmp_path: Path) -> AsyncIterator[NatsServer]:
        async for server in serve(tmp_path / "nats", self.sync):
            yield server

    @pytest.fixture
    async def connection(self, server: NatsServer) -> Connection:
        return await server.connect()

    @pytest.fixture
    async def journal(self, connection: Connection) -> JetStreamJournal:
        journal = await JetStreamJournal.open(connection, EVENTS, KINDS, timeout=60)
        assert journal.sync_always == (self.sync == "always")
        return journal

    @pytest.fixture
    def tamper(self, connection: Connection) -> Tamper:
        return JetStreamTamper(connection)


class TestJetStreamJournal(JetStreamContract):
    sync = "default"


class TestSyncedJetStreamJournal(JetStreamContract):
    sync = "always"


class TestJetStreamSnapshots(SnapshotContract):
    @pytest.fixture
    async def connection(self, nats_server: NatsServer) -> Connection:
        return await nats_server.connect()

    @pytest.fixture
    async def publisher(self, connection: Connection) -> Publisher:
        return await Publisher.start(connection, timeout=60)

    @pytest.fixture
    def snapshots(self, publisher: Publisher) -> Snapshots:
        return snapshots_in(JetStreamSnapshots(publisher))

    @pytest.fixture
    async def journal(self, publisher: Publisher, snapshots: Snapshots) -> JetStreamJournal:
        return JetStreamJournal(
            publisher, Codec(EVENTS, KINDS), sync_always=False, timeout=60, snapshots=snapshots
        )

    @pytest.fixture
    def tamper(self, connection: Connection) -> Tamper:
        return JetStreamTamper(connection)

    async def test_one_snapshot_is_kept_of_each_aggregate(
        self, connection: Connection, snapshots: Snapshots
    ) -> None:
        books = [new_id(), new_id()]
        for _ in range(3):
            await snapshots.store.put({(LEDGER, book): b"x" * 100 for book in books})
        assert (await api(connection, "STREAM.INFO.SNAPSHOTS"))["state"]["messages"] == 2
        await snapshots.store.remove([(LEDGER, books[0])])
        assert await snapshots.store.get(LEDGER, books[0]) is None
        assert await snapshots.store.get(LEDGER, books[1]) == b"x" * 100

    async def test_a_snapshot_that_is_too_large_does_not_keep_others_out(
        self, snapshots: Snapshots, connection: Connection
    ) -> None:
        small, large = new_id(), new_id()
        with pytest.raises(TooLarge, match=str(large)):
            await snapshots.store.put({(LEDGER, large): b"x" * connection.max_payload, (LEDGER, small): b"y"})
        assert await snapshots.store.get(LEDGER, small) == b"y"
        assert await snapshots.store.get(LEDGER, large) is None

    async def test_without_the_stream_everything_is_loaded_all_the_same(
        self, journal: JetStreamJournal, snapshots: Snapshots, connection: Connection
    ) -> None:
        book = await kept(journal, snapshots)
        await api(connection, "STREAM.DELETE.SNAPSHOTS")
        assert (await load(journal, book)).aggregate.version == LONG
        with pytest.raises(JournalUnavailable):
            await snapshots.store.put({(LEDGER, book): b"x"})
        with pytest.raises(JournalUnavailable):
            await snapshots.store.remove([(LEDGER, book)])

    async def test_a_worker_can_neither_read_nor_write_snapshots(
        self, nats_server: NatsServer, snapshots: Snapshots, connection: Connection
    ) -> None:
        book = new_id()
        await snapshots.store.put({(LEDGER, book): b"theirs"})
        worker = await nats_server.connect_worker()
        publisher = await Publisher.start(worker, timeout=0.5)
        with pytest.raises(BrokerError):
            await publisher.request(snapshot(LEDGER, book), b"mine")
        with pytest.raises(JournalUnavailable):
            await JetStreamSnapshots(publisher, timeout=0.5).get(LEDGER, book)
        assert await snapshots.store.get(LEDGER, book) == b"theirs"


class JetStreamTamper:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def remove(self, commit: StoredCommit) -> None:
        subject = commit_subject(commit.kind, commit.id, commit.n, commit.skill)
        await api(self._connection, "STREAM.PURGE.JOURNAL", {"filter": subject})

    async def forge(self, like: StoredCommit, n: int, raw: bytes) -> None:
        await self._connection.request(commit_subject(like.kind, like.id, n, like.skill), raw, timeout=30)
