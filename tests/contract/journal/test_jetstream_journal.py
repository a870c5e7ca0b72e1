"""The journal on JetStream keeps the contract, in both durability modes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.application.ports import StoredCommit
from shared.broker.connection import Connection
from shared.broker.embedded import Sync
from shared.broker.streams import api
from shared.broker.subjects import commit_subject
from shared.journal.journal import JetStreamJournal
from tests.contract.journal.contract import JournalContract, Tamper
from tests.contract.journal.ledger import EVENTS, KINDS
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
        journal = await JetStreamJournal.open(connection, EVENTS, KINDS)
        assert journal.sync_always == (self.sync == "always")
        return journal

    @pytest.fixture
    def tamper(self, connection: Connection) -> Tamper:
        return JetStreamTamper(connection)


class TestJetStreamJournal(JetStreamContract):
    sync = "default"


class TestSyncedJetStreamJournal(JetStreamContract):
    sync = "always"


class JetStreamTamper:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def remove(self, commit: StoredCommit) -> None:
        subject = commit_subject(commit.kind, commit.id, commit.n, commit.skill)
        await api(self._connection, "STREAM.PURGE.JOURNAL", {"filter": subject})

    async def forge(self, like: StoredCommit, n: int, raw: bytes) -> None:
        await self._connection.request(commit_subject(like.kind, like.id, n, like.skill), raw, timeout=2)
