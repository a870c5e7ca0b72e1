"""Counting again what the rate keys used up before a start."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from services.dispatcher.flow import Flow, Held, Limit
from services.dispatcher.rates import LEAST, count_rates
from shared.application.clock import to_us
from shared.application.ports import JournalUnavailable, StoredCommit
from shared.journal.recent import Recent

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOW = 1_000.0
LIMIT = Limit("k", 2, 60.0)


def release(seconds_ago: float, *limits: dict[str, Any], tenant: str = "") -> StoredCommit:
    data = {"task": 1, "skill": "s", "limits": list(limits), "tenant": tenant}
    at = to_us(NOON) - int(seconds_ago * 1e6)
    events = [("JobAccepted", {}), ("TaskReleased", data)]
    return StoredCommit(1, "job", UUID(int=1), 1, at, "t", events, b"", "s")


def rated(limit: int = 2, per_seconds: float = 60) -> dict[str, Any]:
    return {"key": "k", "limit": limit, "per_seconds": per_seconds}


def waiting(number: int, limit: Limit = LIMIT) -> Held:
    return Held((UUID(int=number), 1), "s", 500, "", (limit,))


async def counted(recent: Recent | Exception, *held: Held) -> tuple[Flow, list[timedelta]]:
    flow = Flow(recovering=True)
    flow.set_slots("s", 10)
    for task in held:
        flow.hold(task)
    asked: list[timedelta] = []

    async def releases(now: datetime, span: timedelta) -> Recent:
        asked.append(span)
        if isinstance(recent, Exception):
            raise recent
        return recent

    await count_rates(releases, flow, NOON, NOW)
    return flow, asked


async def test_each_release_counts_from_when_it_was_decided() -> None:
    commits = [
        release(70, rated()),
        release(50, rated()),
        release(1, rated(), tenant="other"),
        release(1, {"key": "k2", "limit": 1}),
    ]
    flow, _ = await counted(Recent(NOON - LEAST, commits), waiting(1), waiting(2))
    assert flow.next("s", NOW) is not None
    assert flow.next("s", NOW) is None
    assert flow.open_windows(NOW + 9) == set()
    assert flow.open_windows(NOW + 10) == {"s"}


async def test_a_release_in_the_future_of_our_clock_counts_as_one_of_now() -> None:
    flow, _ = await counted(Recent(None, [release(-30, rated(1))]), waiting(1, Limit("k", 1, 60.0)))
    assert flow.next("s", NOW) is None
    assert flow.open_windows(NOW + 60) == {"s"}


async def test_the_journal_is_asked_for_the_longest_window_that_something_waits_for() -> None:
    _, asked = await counted(Recent(None, []), waiting(1, Limit("k", 1, 86_400.0)), waiting(2))
    assert asked == [timedelta(days=1)]
    _, asked = await counted(Recent(None, []), waiting(2))
    assert asked == [LEAST]


async def test_a_window_that_is_longer_than_what_could_be_read_is_full() -> None:
    day = Limit("k", 2, 86_400.0)
    flow, _ = await counted(Recent(NOON - LEAST, []), waiting(1, day))
    assert flow.next("s", NOW) is None
    assert flow.open_windows(NOW + 86_400 - LEAST.total_seconds()) == {"s"}


async def test_nothing_is_held_back_when_the_whole_past_is_known() -> None:
    flow, _ = await counted(Recent(None, []), waiting(1, Limit("k", 1, 86_400.0)))
    assert flow.next("s", NOW) is not None


async def test_when_the_journal_cannot_be_read_the_first_window_counts_as_full() -> None:
    flow, _ = await counted(JournalUnavailable("away"), waiting(1))
    assert flow.next("s", NOW) is None
    assert flow.open_windows(NOW + 59) == set()
    assert flow.open_windows(NOW + 60) == {"s"}
