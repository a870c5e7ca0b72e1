"""The recorder keeps the conformance tests that the library ships, against a real server."""

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from unittest import TestCase
from uuid import UUID

import pytest
from eventsourcing.persistence import (
    IntegrityError,
    OperationalError,
    ProgrammingError,
    StoredEvent,
)

from shared.application.ids import new_id
from shared.broker.connection import connect, disconnect
from shared.broker.embedded import EmbeddedServer
from shared.broker.streams import declare_streams
from shared.journal.chain import verify
from shared.journal.journal import JetStreamJournal
from shared.journal.recorder import JetStreamRecorder
from tests.contract.journal.contract import NOON, append
from tests.contract.journal.ledger import EVENTS, KINDS, LEDGER, opened, written
from tests.support.nats import NatsServer

if TYPE_CHECKING:
    from eventsourcing.tests.persistence import (
        ApplicationRecorderTestCase,
        NonInterleavingNotificationIDsBaseCase,
    )
else:
    # The library's tests import its cipher, which needs a package that neither of us uses here.
    cipher: Any = ModuleType("eventsourcing.cipher")
    cipher.AESCipher = None
    sys.modules.setdefault("eventsourcing.cipher", cipher)
    from eventsourcing.tests.persistence import (
        ApplicationRecorderTestCase,
        NonInterleavingNotificationIDsBaseCase,
    )

pytestmark = pytest.mark.connected


class OnOwnServer(TestCase):
    """A server a test: the library's tests expect that notifications begin at 1."""

    server: EmbeddedServer

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.server = EmbeddedServer(Path(folder.name) / "nats", worker_token="t", sync="default")
        self.server.start()
        self.addCleanup(self.server.kill)
        asyncio.run(self._declare())

    def create_recorder(self) -> JetStreamRecorder:
        recorder = JetStreamRecorder(self.server.url, user="daybook", password=self.server.password)
        self.addCleanup(recorder.close)
        return recorder

    async def _declare(self) -> None:
        await self.server.wait_ready()
        connection = await connect(self.server.url, name="t", user="daybook", password=self.server.password)
        await declare_streams(connection)
        await disconnect(connection)


class TestRecorder(OnOwnServer, ApplicationRecorderTestCase[JetStreamRecorder]):
    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestNonInterleaving(OnOwnServer, NonInterleavingNotificationIDsBaseCase):
    pass


class TestOurRules(OnOwnServer):
    def test_events_of_several_aggregates_are_taken_whole_or_not_at_all(self) -> None:
        recorder = self.create_recorder()
        one, two = new_id(), new_id()
        recorder.insert_events([event(one, 1), event(two, 1)])

        with pytest.raises(IntegrityError):
            recorder.insert_events([event(one, 2), event(two, 1)])

        assert versions(recorder.select_events(one)) == [1]
        assert recorder.max_notification_id() == 2

    def test_the_same_version_twice_in_one_insert_is_refused(self) -> None:
        recorder, id = self.create_recorder(), new_id()  # noqa: A001
        with pytest.raises(IntegrityError):
            recorder.insert_events([event(id, 1), event(id, 1)])
        assert recorder.max_notification_id() is None

    def test_events_are_selected_by_version(self) -> None:
        recorder, id = self.create_recorder(), new_id()  # noqa: A001
        recorder.insert_events([event(id, n) for n in range(1, 8)])
        assert versions(recorder.select_events(id, gt=2, lte=5)) == [3, 4, 5]
        assert versions(recorder.select_events(id, desc=True, limit=2)) == [7, 6]

    def test_commits_are_chained_over_several_inserts(self) -> None:
        recorder, id = self.create_recorder(), new_id()  # noqa: A001
        recorder.insert_events([event(id, 1), event(id, 2)])
        recorder.insert_events([event(id, 3)])
        commits = recorder.run(recorder._select(id))
        assert verify(commits) is not None

    def test_foreign_ids_and_endless_inserts_are_refused(self) -> None:
        recorder, id = self.create_recorder(), new_id()  # noqa: A001
        with pytest.raises(ProgrammingError, match="UUID"):
            recorder.insert_events([StoredEvent(">", 1, "t", b"")])
        with pytest.raises(ProgrammingError, match="at most"):
            recorder.insert_events([event(id, n) for n in range(1001)])
        assert recorder.insert_events([]) == []

    def test_an_unreachable_broker_is_an_operational_error(self) -> None:
        with pytest.raises(OperationalError):
            JetStreamRecorder("nats://127.0.0.1:9", user=None, password=None, timeout=0.2)

    def test_a_subscription_ends_when_it_is_stopped(self) -> None:
        recorder, id = self.create_recorder(), new_id()  # noqa: A001
        recorder.insert_events([event(id, 1), event(id, 2)])
        with recorder.subscribe(gt=1) as subscription:
            assert next(subscription).originator_version == 2
        assert list(subscription) == []


async def test_our_own_events_can_be_read_through_the_recorder(nats_server: NatsServer) -> None:
    journal = await JetStreamJournal.open(await nats_server.connect(), EVENTS, KINDS)
    book = new_id()
    first = await append(journal, book, opened(book, NOON, owner="ann"))
    await append(journal, book, written(book, 2, NOON, 1), written(book, 3, NOON, 2), after=first)

    def read() -> tuple[Sequence[StoredEvent], list[int]]:
        with JetStreamRecorder(
            nats_server.url, user="daybook", password=nats_server.password, kind=LEDGER
        ) as recorder:
            ids = [notification.id for notification in recorder.select_notifications(None, 10)]
            return recorder.select_events(book), ids

    events, ids = await asyncio.to_thread(read)

    assert [(e.originator_version, e.topic, e.state) for e in events] == [
        (1, "LedgerOpened", b'{"owner":"ann"}'),
        (2, "EntryWritten", b'{"value":1}'),
        (3, "EntryWritten", b'{"value":2}'),
    ]
    assert ids == [1, 2, 2]


def event(id: UUID, version: int) -> StoredEvent:  # noqa: A002
    return StoredEvent(id, version, "topic", b"\x00state")


def versions(events: Sequence[StoredEvent]) -> list[int]:
    return [event.originator_version for event in events]
