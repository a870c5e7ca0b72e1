import asyncio
from collections.abc import AsyncIterator, Collection
from uuid import UUID

import pytest

from services.api import watch as watching
from services.api.waiting import Waiting, fold
from services.api.watch import Follower, WatchLost
from shared.application.ports import JournalUnavailable, StoredCommit
from shared.application.summary import JobSummary
from tests.unit.api.world import World, world


async def submitted(w: World) -> UUID:
    async with w.client() as client:
        return UUID((await client.post("/v1/jobs", json={"skill": "resize"})).json()["job_id"])


async def test_a_watch_sees_its_own_job_only() -> None:
    async with world() as w:
        job, other = await submitted(w), await submitted(w)
        async with w.follower.watch(job) as watch:
            await w.succeed(other)
            await w.succeed(job)
            async with asyncio.timeout(30):
                commits = await watch.next()
        assert {commit.id for commit in commits} == {job}


async def test_many_watches_share_one_follower() -> None:
    async with world() as w:
        job, followed = await submitted(w), 0
        follow = w.journal.follow

        def counting(after: int, kinds: Collection[str] = ()) -> AsyncIterator[list[StoredCommit]]:
            nonlocal followed
            followed += 1
            return follow(after, kinds)

        w.journal.follow = counting  # type: ignore[method-assign]

        async def ended() -> list[StoredCommit]:
            async with w.follower.watch(job) as watch:
                entered.release()
                return await watch.next()

        entered = asyncio.Semaphore(0)
        watchers = [asyncio.create_task(ended()) for _ in range(50)]
        async with asyncio.timeout(30):
            for _ in watchers:
                await entered.acquire()
            await w.succeed(job)
            assert all(await asyncio.gather(*watchers))
        assert followed == 1
        assert w.follower.watching == 0


async def test_nothing_is_followed_when_nobody_watches() -> None:
    async with world() as w:
        job = await submitted(w)
        async with asyncio.timeout(30):
            async with w.follower.watch(job):
                while not w.journal._followers:
                    await asyncio.sleep(0)
            while w.journal._followers:
                await asyncio.sleep(0.005)


async def test_a_reader_that_is_too_slow_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MAX_BEHIND", 1)
    async with world() as w:
        job = await submitted(w)
        async with w.follower.watch(job) as watch:
            await w.succeed(job)  # two commits: the release and the result
            async with asyncio.timeout(30):
                with pytest.raises(WatchLost):
                    await watch.next()


async def test_closing_ends_every_watch() -> None:
    async with world() as w:
        job = await submitted(w)
        async with w.follower.watch(job) as watch:
            waiting = asyncio.create_task(watch.next())
            await asyncio.sleep(0)
            await w.follower.close()
            with pytest.raises(WatchLost):
                await waiting
        async with w.follower.watch(job) as late:
            with pytest.raises(WatchLost):
                await late.next()


async def test_closing_ends_a_following_that_lost_its_cancellation() -> None:
    async with world() as w:
        job, lost = await submitted(w), asyncio.Event()

        async def deaf(after: int, kinds: Collection[str] = ()) -> AsyncIterator[list[StoredCommit]]:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost.set()  # as asyncio.wait_for does when its answer comes at the same time
            await asyncio.Event().wait()
            yield []

        w.journal.follow = deaf  # type: ignore[method-assign]
        async with asyncio.timeout(30), w.follower.watch(job):
            await asyncio.sleep(0)
            await w.follower.close()
        assert lost.is_set()


async def test_a_follower_that_broke_starts_again_for_the_next_watch(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with world() as w:
        job, follow = await submitted(w), w.journal.follow

        async def broken(after: int, kinds: Collection[str] = ()) -> AsyncIterator[list[StoredCommit]]:
            raise JournalUnavailable("gone")
            yield []

        w.journal.follow = broken  # type: ignore[method-assign]
        async with w.follower.watch(job) as watch:
            with pytest.raises(WatchLost):
                await watch.next()
        assert "following the journal broke" in caplog.text
        w.journal.follow = follow  # type: ignore[method-assign]
        async with w.follower.watch(job) as watch:
            await w.succeed(job)
            async with asyncio.timeout(30):
                assert await watch.next()


async def test_a_journal_that_cannot_tell_its_end_is_told_to_who_watches() -> None:
    async with world() as w:

        async def unavailable() -> int:
            raise JournalUnavailable("gone")

        last, w.journal.last_sequence = w.journal.last_sequence, unavailable  # type: ignore[method-assign]
        with pytest.raises(JournalUnavailable):
            async with w.follower.watch(UUID(int=1)):
                raise AssertionError("not entered")
        assert w.follower.watching == 0
        w.journal.last_sequence = last  # type: ignore[method-assign]
        async with w.follower.watch(UUID(int=1)):
            assert w.follower.watching == 1


async def test_a_gap_is_filled_from_the_history() -> None:
    async with world() as w:
        job = await submitted(w)
        # The follower begins behind the acceptance, as when another process accepted the job.
        async with Waiting(w.journal, w.follower).job(job) as ending:
            await w.succeed(job, 5)
            found = await ending.within(5, known=True)
        assert found is not None
        assert found["output"] == 5


async def test_a_fold_stops_at_a_gap_and_skips_what_it_has() -> None:
    async with world() as w:
        job = await submitted(w)
        await w.succeed(job)
        commits = await w.journal.history("job", job)
        summary = JobSummary(id=str(job))
        assert fold(summary, commits[:1])
        before = summary.version_of_job
        assert fold(summary, commits[:1])
        assert summary.version_of_job == before
        assert not fold(summary, commits[2:])
        assert fold(summary, commits)
        assert summary.is_ended


async def test_a_wait_ends_when_the_server_stops() -> None:
    async with world() as w:
        job = await submitted(w)
        async with Waiting(w.journal, w.follower).job(job) as ending:
            waiting = asyncio.create_task(ending.within(60, known=False))
            await asyncio.sleep(0)
            await w.follower.close()
            async with asyncio.timeout(30):
                assert await waiting is None


def test_a_follower_needs_no_loop_to_be_made() -> None:
    assert Follower(None).watching == 0  # type: ignore[arg-type]
