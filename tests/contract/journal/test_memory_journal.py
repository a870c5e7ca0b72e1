"""The journal in memory keeps the contract."""

import pytest
from msgspec.structs import replace

from shared.application.ports import StoredCommit
from shared.journal.memory import MemoryJournal
from shared.journal.snapshots import MemorySnapshots, Snapshots
from tests.contract.journal.contract import JournalContract, Tamper
from tests.contract.journal.ledger import EVENTS, KINDS
from tests.contract.journal.snapshots import SnapshotContract, snapshots_in


class TestMemoryJournal(JournalContract):
    @pytest.fixture
    def journal(self) -> MemoryJournal:
        return MemoryJournal(EVENTS, KINDS)

    @pytest.fixture
    def tamper(self, journal: MemoryJournal) -> Tamper:
        return MemoryTamper(journal)


class TestMemorySnapshots(SnapshotContract):
    @pytest.fixture
    def snapshots(self) -> Snapshots:
        return snapshots_in(MemorySnapshots())

    @pytest.fixture
    def journal(self, snapshots: Snapshots) -> MemoryJournal:
        return MemoryJournal(EVENTS, KINDS, snapshots)

    @pytest.fixture
    def tamper(self, journal: MemoryJournal) -> Tamper:
        return MemoryTamper(journal)


class MemoryTamper:
    def __init__(self, journal: MemoryJournal) -> None:
        self._commits_of = journal._of

    async def remove(self, commit: StoredCommit) -> None:
        self._commits_of[commit.kind, commit.id].remove(commit)

    async def forge(self, like: StoredCommit, n: int, raw: bytes) -> None:
        commits = self._commits_of[like.kind, like.id]
        commits.append(replace(like, n=n, raw=raw, sequence=99))
        commits.sort(key=lambda commit: commit.n)
