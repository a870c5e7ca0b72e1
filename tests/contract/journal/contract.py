"""What every journal promises. A backend is tested by subclassing `JournalContract`."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar
from uuid import UUID

import pytest
from eventsourcing.domain import Aggregate

from shared.application.ids import new_id
from shared.application.ports import (
    Appended,
    BrokenChain,
    Decision,
    Journal,
    Recorded,
    StoredCommit,
    VersionConflict,
)
from shared.broker.subjects import skill_token
from tests.contract.journal.ledger import LEDGER, Event, Ledger, opened, released, written

A = TypeVar("A", bound=Aggregate)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Tamper(Protocol):
    """Does to stored commits what nobody should."""

    async def remove(self, commit: StoredCommit) -> None: ...

    async def forge(self, like: StoredCommit, n: int, raw: bytes) -> None: ...


class CatchingUp(Journal, Protocol):
    """A journal that brings what was recorded up to now."""

    async def catch_up(self, recorded: Recorded[A]) -> Recorded[A]: ...


class JournalContract:
    @pytest.fixture
    def journal(self) -> Journal:
        raise NotImplementedError

    @pytest.fixture
    def tamper(self) -> Tamper:
        raise NotImplementedError

    async def test_what_was_appended_is_loaded(self, journal: Journal) -> None:
        book = new_id()
        first = await append(journal, book, opened(book, NOON))
        second = await append(
            journal, book, written(book, 2, NOON, {"a": [1, None]}), written(book, 3, NOON, "b"), after=first
        )

        recorded = await journal.load(Ledger, book)

        assert recorded is not None
        assert recorded.aggregate.entries == [{"a": [1, None]}, "b"]
        assert recorded.aggregate.version == 3
        assert recorded.aggregate.id == book
        assert recorded.aggregate.modified_on == NOON
        assert (recorded.sequence, recorded.tip) == (second.sequence, second.tip)
        assert await journal.last_sequence() == second.sequence

    async def test_nothing_is_loaded_of_what_was_never_appended(self, journal: Journal) -> None:
        assert await journal.load(Ledger, new_id()) is None
        assert await journal.history(LEDGER, new_id()) == []
        assert await journal.last_sequence() == 0

    async def test_history_is_the_commits_as_they_were_made(self, journal: Journal) -> None:
        book = new_id()
        first = await append(journal, book, opened(book, NOON, owner="ann"), by="client:ann")
        later = NOON + timedelta(microseconds=123_456)
        await append(
            journal, book, written(book, 2, later, 1), written(book, 3, later, 2), after=first, by="worker:w1"
        )

        one, two = await journal.history(LEDGER, book)

        assert (one.kind, one.id, one.n, one.by, one.skill) == (LEDGER, book, 1, "client:ann", None)
        assert one.events == [("LedgerOpened", {"owner": "ann"})]
        assert (two.n, two.last_version, two.by) == (2, 3, "worker:w1")
        assert two.events == [("EntryWritten", {"value": 1}), ("EntryWritten", {"value": 2})]
        assert two.at - one.at == 123_456
        assert one.digest == first.tip

    async def test_the_same_version_is_taken_once(self, journal: Journal) -> None:
        book = new_id()
        first = await append(journal, book, opened(book, NOON))
        await append(journal, book, written(book, 2, NOON, "winner"), after=first)

        with pytest.raises(VersionConflict) as caught:
            await append(journal, book, written(book, 2, NOON, "loser"), after=first)

        assert (caught.value.kind, caught.value.id, caught.value.n) == (LEDGER, book, 2)
        assert await entries(journal, book) == ["winner"]

    async def test_a_conflict_hurts_only_the_loser(self, journal: Journal) -> None:
        taken = new_id()
        await append(journal, taken, opened(taken, NOON))
        others = [new_id() for _ in range(150)]  # more than go one by one

        outcomes = await asyncio.gather(
            *(append(journal, book, opened(book, NOON)) for book in [*others[:13], taken, *others[13:]]),
            return_exceptions=True,
        )

        assert isinstance(outcomes.pop(13), VersionConflict)
        assert all(isinstance(outcome, Appended) for outcome in outcomes)
        for book, outcome in zip(others, outcomes, strict=True):
            history = await journal.history(LEDGER, book)
            assert isinstance(outcome, Appended)
            assert [commit.sequence for commit in history] == [outcome.sequence]

    async def test_of_simultaneous_decisions_about_one_version_one_is_taken(self, journal: Journal) -> None:
        books = [new_id() for _ in range(10)]

        outcomes = await asyncio.gather(
            *(
                append(journal, book, opened(book, NOON, owner=f"{turn}"))
                for turn in range(5)
                for book in books
            ),
            return_exceptions=True,
        )

        taken = [outcome for outcome in outcomes if isinstance(outcome, Appended)]
        refused = [outcome for outcome in outcomes if isinstance(outcome, VersionConflict)]
        assert (len(taken), len(refused)) == (10, 40)
        assert [len(await journal.history(LEDGER, book)) for book in books] == [1] * 10

    async def test_two_hundred_appenders_keep_the_order_of_each_aggregate(self, journal: Journal) -> None:
        async def write(book: UUID) -> None:
            last = await append(journal, book, opened(book, NOON))
            for version in range(2, 7):
                last = await append(journal, book, written(book, version, NOON, version), after=last)

        books = [new_id() for _ in range(200)]
        await asyncio.gather(*(write(book) for book in books))

        assert await journal.last_sequence() == 1200
        for book in books[::10]:
            assert await entries(journal, book) == [2, 3, 4, 5, 6]

    async def test_each_release_of_a_task_ends_a_commit_on_its_queue(self, journal: Journal) -> None:
        book = new_id()
        appended = await append(
            journal,
            book,
            opened(book, NOON),
            released(book, 2, NOON, 1, "resize"),
            released(book, 3, NOON, 2, "Über Skill"),
            written(book, 4, NOON, "rest"),
        )

        history = await journal.history(LEDGER, book)

        assert [(commit.n, len(commit.events), commit.skill) for commit in history] == [
            (1, 2, "resize"),
            (3, 1, skill_token("Über Skill")),
            (4, 1, None),
        ]
        first = history[0].sequence
        assert [commit.sequence for commit in history] == [first, first + 1, first + 2]
        assert (appended.sequence, appended.tip) == (history[-1].sequence, history[-1].digest)

    async def test_a_decision_of_several_commits_is_taken_whole_or_not_at_all(self, journal: Journal) -> None:
        book = new_id()
        first = await append(journal, book, opened(book, NOON))
        await append(journal, book, written(book, 2, NOON, "winner"), after=first)
        before = await journal.last_sequence()

        with pytest.raises(VersionConflict):
            await append(
                journal,
                book,
                *(released(book, version, NOON, version, "resize") for version in range(2, 12)),
                after=first,
            )

        assert await journal.last_sequence() == before
        assert len(await journal.history(LEDGER, book)) == 2

    async def test_a_decision_without_events_is_an_error_of_the_caller(self, journal: Journal) -> None:
        with pytest.raises(ValueError, match="without events"):
            await journal.append(Decision(LEDGER, new_id(), [], "test"))

    async def test_a_history_longer_than_one_answer_is_loaded_whole(self, journal: Journal) -> None:
        book = new_id()
        last = await append(journal, book, opened(book, NOON))
        version = 2
        for _ in range(40):  # 40 decisions of 60 commits of one or two events
            events: list[Event] = []
            for task in range(60):
                if task % 3 == 0:
                    events.append(written(book, version, NOON, version))
                    version += 1
                events.append(released(book, version, NOON, task, "resize"))
                version += 1
            last = await append(journal, book, *events, after=last)

        history = await journal.history(LEDGER, book)
        recorded = await journal.load(Ledger, book)

        assert len(history) == 2401
        assert recorded is not None
        assert recorded.aggregate.version == version - 1
        assert recorded.sequence == last.sequence

    async def test_a_history_with_an_enormous_commit_is_loaded_whole(self, journal: Journal) -> None:
        book = new_id()
        last = await append(journal, book, opened(book, NOON))
        last = await append(journal, book, *(written(book, n, NOON, n) for n in range(2, 3002)), after=last)
        releases = (released(book, n, NOON, n, "resize") for n in range(3002, 3902))
        last = await append(journal, book, *releases, after=last)
        last = await append(
            journal, book, *(written(book, n, NOON, n) for n in range(3902, 6002)), after=last
        )
        for version in range(6002, 6202):
            last = await append(journal, book, written(book, version, NOON, version), after=last)

        recorded = await journal.load(Ledger, book)
        assert recorded is not None
        assert recorded.aggregate.version == 6201

    async def test_commits_of_megabytes_are_loaded_whole(self, journal: Journal) -> None:
        book = new_id()
        last = await append(journal, book, opened(book, NOON))
        for version in range(2, 12):  # more than one answer of the server holds
            last = await append(journal, book, written(book, version, NOON, "x" * 8_000_000), after=last)

        assert [len(entry) for entry in await entries(journal, book)] == [8_000_000] * 10

    async def test_a_missing_commit_breaks_the_chain(self, journal: Journal, tamper: Tamper) -> None:
        book = new_id()
        await write_three(journal, book)
        await tamper.remove((await journal.history(LEDGER, book))[1])

        with pytest.raises(BrokenChain, match="version 2 is missing"):
            await journal.load(Ledger, book)
        with pytest.raises(BrokenChain, match="version 2 is missing"):
            await journal.history(LEDGER, book)

    async def test_a_changed_commit_breaks_the_chain(self, journal: Journal, tamper: Tamper) -> None:
        book = new_id()
        await write_three(journal, book)
        two = (await journal.history(LEDGER, book))[1]
        await tamper.remove(two)
        await tamper.forge(two, 2, two.raw.replace(b'"two"', b'"2wo"'))

        with pytest.raises(BrokenChain):
            await journal.load(Ledger, book)

    async def test_a_forged_commit_at_the_end_breaks_the_chain(
        self, journal: Journal, tamper: Tamper
    ) -> None:
        book = new_id()
        await write_three(journal, book)
        last = (await journal.history(LEDGER, book))[-1]
        await tamper.forge(last, 4, last.raw.replace(b'"n":3', b'"n":4'))

        with pytest.raises(BrokenChain, match="not written after"):
            await journal.load(Ledger, book)

    async def test_a_recorded_aggregate_catches_up(self, journal: CatchingUp) -> None:
        book = new_id()
        first = await append(journal, book, opened(book, NOON))
        old = await journal.load(Ledger, book)
        assert old is not None
        assert await journal.catch_up(old) == old
        last = await append(
            journal, book, written(book, 2, NOON, "a"), written(book, 3, NOON, "b"), after=first
        )
        for version in range(4, 104):
            last = await append(journal, book, written(book, version, NOON, version), after=last)

        new = await journal.catch_up(old)

        assert (new.aggregate.version, new.sequence, new.tip) == (103, last.sequence, last.tip)
        assert new.aggregate.entries == ["a", "b", *range(4, 104)]
        assert new.aggregate is old.aggregate

    async def test_a_false_record_does_not_catch_up(self, journal: CatchingUp) -> None:
        book = new_id()
        await write_three(journal, book)
        recorded = await journal.load(Ledger, book)
        assert recorded is not None
        await append(
            journal, book, written(book, 4, NOON, 4), after=Appended(recorded.sequence, recorded.tip)
        )

        with pytest.raises(BrokenChain):
            await journal.catch_up(replace(recorded, tip=b"\0" * 32))
        assert recorded.aggregate.version == 3

    async def test_a_follower_gets_what_was_and_what_comes(self, journal: Journal) -> None:
        first = [new_id() for _ in range(5)]
        for book in first:
            await append(journal, book, opened(book, NOON))
        follower = journal.follow(2)
        try:
            assert [commit.id for commit in await take(follower, 3)] == first[2:]

            later = new_id()
            await append(journal, later, opened(later, NOON))
            (commit,) = await take(follower, 1)
            assert (commit.id, commit.sequence) == (later, 6)
        finally:
            await follower.aclose()  # type: ignore[attr-defined]  # both are async generators

    async def test_a_follower_may_ask_for_some_kinds_only(self, journal: Journal) -> None:
        books = [new_id() for _ in range(4)]
        for book in books:
            await append(journal, book, opened(book, NOON))
        others = journal.follow(0, kinds=["other"])
        ledgers = journal.follow(0, kinds=["other", LEDGER])
        waiting = asyncio.ensure_future(anext(others))
        try:
            assert [commit.id for commit in await take(ledgers, 4)] == books
            assert not waiting.done()
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            await ledgers.aclose()  # type: ignore[attr-defined]

    async def test_followers_under_load_miss_nothing(self, journal: Journal) -> None:
        followers = [journal.follow(0), journal.follow(0)]

        async def write(book: UUID) -> None:
            last = await append(journal, book, opened(book, NOON))
            for version in range(2, 12):
                last = await append(journal, book, written(book, version, NOON, version), after=last)

        readers = [asyncio.ensure_future(take(follower, 1100)) for follower in followers]
        await asyncio.gather(*(write(new_id()) for _ in range(100)))

        for commits in await asyncio.gather(*readers):
            assert [commit.sequence for commit in commits] == list(range(1, 1101))
        for follower in followers:
            await follower.aclose()  # type: ignore[attr-defined]


async def append(
    journal: Journal, book: UUID, *events: Event, after: Appended | None = None, by: str = "test"
) -> Appended:
    """Append one decision about the ledger `book`, behind what `after` stored."""
    return await journal.append(Decision(LEDGER, book, events, by, after.tip if after else None))


async def write_three(journal: Journal, book: UUID) -> None:
    first = await append(journal, book, opened(book, NOON))
    second = await append(journal, book, written(book, 2, NOON, "two"), after=first)
    await append(journal, book, written(book, 3, NOON, "three"), after=second)


async def entries(journal: Journal, book: UUID) -> list[Any]:
    recorded = await journal.load(Ledger, book)
    assert recorded is not None
    return recorded.aggregate.entries


async def take(follower: AsyncIterator[list[StoredCommit]], number: int) -> list[StoredCommit]:
    """The next `number` commits that `follower` gives; fails when they take longer than 30 seconds."""
    commits: list[StoredCommit] = []
    async with asyncio.timeout(30):
        while len(commits) < number:
            commits += await anext(follower)
    assert len(commits) == number
    return commits
