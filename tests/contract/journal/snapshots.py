"""What every journal promises of snapshots: they save time, and change nothing else."""

import zlib
from collections.abc import Callable
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson
import pytest

from shared.application.ids import new_id
from shared.application.ports import Appended, BrokenChain, Journal, Recorded
from shared.journal.snapshots import FIRST_COMMITS, Kind, Snapshots, SnapshotStore
from tests.contract.journal.contract import NOON, Tamper, append
from tests.contract.journal.ledger import LEDGER, Ledger, opened, written

LONG = FIRST_COMMITS + 22


class LedgerStates:
    """The state of a ledger."""

    def __init__(self, encoding: str = "ledger 1") -> None:
        self.encoding = encoding

    def dump(self, aggregate: Any) -> object:
        return [aggregate.entries, aggregate.released]

    def load(self, aggregate: Any, state: Any) -> None:
        aggregate.entries, aggregate.released = state


def snapshots_in(store: SnapshotStore, encoding: str = "ledger 1") -> Snapshots:
    return Snapshots(store, {Ledger: Kind(LEDGER, LedgerStates(encoding))})


class SnapshotContract:
    """`journal` loads from `snapshots`."""

    @pytest.fixture
    def snapshots(self) -> Snapshots:
        raise NotImplementedError

    @pytest.fixture
    def journal(self, snapshots: Snapshots) -> Journal:
        raise NotImplementedError

    @pytest.fixture
    def tamper(self) -> Tamper:
        raise NotImplementedError

    async def test_a_long_aggregate_is_loaded_from_its_snapshot(
        self, journal: Journal, snapshots: Snapshots
    ) -> None:
        book = await kept(journal, snapshots, then=3)
        recorded = await load(journal, book)

        assert recorded.aggregate.entries == [*range(2, LONG + 1), *range(LONG + 1, LONG + 4)]
        assert (recorded.aggregate.version, recorded.snapshot) == (LONG + 3, LONG)
        assert recorded.aggregate.created_on == recorded.aggregate.modified_on == NOON
        last = (await journal.history(LEDGER, book))[-1]
        assert (recorded.sequence, recorded.tip) == (last.sequence, last.digest)
        assert snapshots.counts == {"used": 1}

    async def test_a_snapshot_of_the_newest_commit_is_the_aggregate(
        self, journal: Journal, snapshots: Snapshots
    ) -> None:
        book = await kept(journal, snapshots)
        recorded = await load(journal, book)
        assert (recorded.aggregate.version, recorded.snapshot) == (LONG, LONG)
        await append(
            journal, book, written(book, LONG + 1, NOON, "x"), after=Appended(recorded.sequence, recorded.tip)
        )
        assert (await load(journal, book)).aggregate.entries[-1] == "x"

    async def test_the_commits_before_the_snapshot_are_not_read(
        self, journal: Journal, snapshots: Snapshots, tamper: Tamper
    ) -> None:
        book = await kept(journal, snapshots, then=3)
        await tamper.remove((await journal.history(LEDGER, book))[1])
        assert (await load(journal, book)).aggregate.version == LONG + 3
        with pytest.raises(BrokenChain):
            await journal.history(LEDGER, book)

    async def test_a_short_aggregate_is_loaded_without_one(
        self, journal: Journal, snapshots: Snapshots
    ) -> None:
        book = new_id()
        await append(journal, book, opened(book, NOON))
        assert (await load(journal, book)).snapshot == 0
        assert await journal.load(Ledger, new_id()) is None
        assert not snapshots.counts

    async def test_a_removed_snapshot_is_not_found(self, journal: Journal, snapshots: Snapshots) -> None:
        book = await kept(journal, snapshots)
        await snapshots.store.remove([(LEDGER, book), (LEDGER, new_id())])
        assert (await load(journal, book)).snapshot == 0
        assert snapshots.counts == {"none": 1}

    async def test_a_newer_snapshot_takes_the_place_of_the_older(
        self, journal: Journal, snapshots: Snapshots
    ) -> None:
        book = await kept(journal, snapshots, then=10)
        newer = await load(journal, book)
        await keep(snapshots, newer)
        assert (await load(journal, book)).snapshot == LONG + 10

    @pytest.mark.parametrize("then", [0, 3])
    @pytest.mark.parametrize(
        ("harm", "why"),
        [
            (lambda raw: raw[:-7], "damaged"),
            (lambda raw: raw[:20], "damaged"),
            (lambda raw: b"", "damaged"),
            (lambda raw: raw[:40] + bytes([raw[40] ^ 1]) + raw[41:], "damaged"),
            (lambda raw: raw[:32] + changed(raw, state=[["a lie"], []])[32:], "damaged"),
            (lambda raw: sealed(b"[]"), "damaged"),
            (lambda raw: changed(raw, state=7), "damaged"),
            (lambda raw: changed(raw, encoding="ledger 2"), "encoding"),
            (lambda raw: changed(raw, id=str(new_id())), "stranger"),
            (lambda raw: changed(raw, kind="other"), "stranger"),
            (lambda raw: changed(raw, tip="00" * 32), "tip"),
            (lambda raw: changed(raw, version=LONG - 1), "elsewhere"),
            (lambda raw: changed(raw, sequence=1), "elsewhere"),
            (lambda raw: changed(raw, sequence=9999), "elsewhere"),
        ],
    )
    async def test_a_snapshot_that_is_not_right_is_ignored(
        self,
        journal: Journal,
        snapshots: Snapshots,
        harm: Callable[[bytes], bytes],
        why: str,
        then: int,
    ) -> None:
        book = await kept(journal, snapshots, then=then)
        raw = await snapshots.store.get(LEDGER, book)
        assert raw is not None
        if why not in ("damaged", "encoding", "stranger"):
            raw = changed(raw, state=[["a lie"], []])
        await snapshots.store.put({(LEDGER, book): harm(raw)})

        recorded = await load(journal, book)

        assert recorded.aggregate.entries == list(range(2, LONG + 1 + then))
        assert recorded.snapshot == 0
        assert snapshots.counts == {why: 1}

    async def test_the_snapshot_of_another_aggregate_is_ignored(
        self, journal: Journal, snapshots: Snapshots
    ) -> None:
        one, other = await kept(journal, snapshots), await kept(journal, snapshots, then=1)
        raw = await snapshots.store.get(LEDGER, one)
        assert raw is not None
        for lie in (raw, changed(raw, id=str(other))):
            await snapshots.store.put({(LEDGER, other): lie})
            assert (await load(journal, other)).aggregate.version == LONG + 1
        assert snapshots.counts == {"stranger": 1, "elsewhere": 1}

    async def test_a_snapshot_ahead_of_the_journal_is_ignored(
        self, journal: Journal, snapshots: Snapshots, tamper: Tamper
    ) -> None:
        """The journal was restored from a backup that is older than the snapshot."""
        book = await kept(journal, snapshots)
        for commit in (await journal.history(LEDGER, book))[-5:]:
            await tamper.remove(commit)
        assert (await load(journal, book)).aggregate.version == LONG - 5
        assert snapshots.counts == {"elsewhere": 1}

    async def test_a_journal_that_went_another_way_since_is_believed(
        self, journal: Journal, snapshots: Snapshots, tamper: Tamper
    ) -> None:
        book = await kept(journal, snapshots, then=1)
        anchor, last = (await journal.history(LEDGER, book))[-2:]
        await tamper.remove(last)
        await tamper.forge(last, LONG + 1, last.raw.replace(anchor.digest.hex().encode(), b"0" * 64))
        with pytest.raises(BrokenChain):
            await journal.load(Ledger, book)
        assert snapshots.counts == {"chain": 1}

    async def test_a_snapshot_by_other_code_is_ignored(self, journal: Journal, snapshots: Snapshots) -> None:
        book = await kept(journal, snapshots)
        recorded = await load(journal, book)
        await keep(snapshots_in(snapshots.store, "ledger 0"), recorded)
        assert (await load(journal, book)).snapshot == 0
        assert snapshots.counts == {"used": 1, "encoding": 1}


async def kept(journal: Journal, snapshots: Snapshots, then: int = 0) -> UUID:
    """A ledger of LONG commits, a snapshot of it, and so many commits behind that."""
    book = new_id()
    last = await append(journal, book, opened(book, NOON))
    for version in range(2, LONG + 1):
        last = await append(journal, book, written(book, version, NOON, version), after=last)
    recorded = await journal.load(Ledger, book)
    assert recorded is not None
    await keep(snapshots, recorded)
    for version in range(LONG + 1, LONG + 1 + then):
        last = await append(journal, book, written(book, version, NOON, version), after=last)
    snapshots.counts.clear()
    return book


async def keep(snapshots: Snapshots, recorded: Recorded[Ledger]) -> None:
    taken = snapshots.take(recorded)
    await snapshots.store.put({(taken.kind, taken.id): taken.packed()})


async def load(journal: Journal, book: UUID) -> Recorded[Ledger]:
    recorded = await journal.load(Ledger, book)
    assert recorded is not None
    return recorded


def sealed(body: bytes) -> bytes:
    """A snapshot of any body that is whole as far as its digest tells."""
    deflated = zlib.compress(body)
    return sha256(deflated).digest() + deflated


def changed(raw: bytes, **members: Any) -> bytes:
    """The snapshot with other members, whole as far as its digest tells."""
    return sealed(orjson.dumps({**orjson.loads(zlib.decompress(raw[32:])), **members}))
