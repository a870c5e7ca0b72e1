"""How often one worker may call."""

import pytest

from services.api.dialects.avtomatika.worker_limits import TooOften, WorkerLimits
from shared.settings import Settings


def limits(**settings: object) -> WorkerLimits:
    given = {"rate_limiting_enabled": True, "rate_limit": 2, "rate_limit_polls": 3, **settings}
    return WorkerLimits(Settings.from_env(**given))


def taken(limits: WorkerLimits, kind: str, worker: str = "w1", token: str = "t") -> int:
    """How many calls are let through, of ten."""
    for number in range(10):
        try:
            limits.take(kind, worker, token)
        except TooOften as limited:
            return number if 1 <= limited.seconds <= 60 else -1
    return 10


def test_each_kind_of_call_has_its_own_limit() -> None:
    some = limits(rate_limit_heartbeats=4)
    assert [taken(some, kind) for kind in ("heartbeat", "poll", "register", "events")] == [4, 3, 2, 2]


def test_a_result_is_always_taken() -> None:
    assert taken(limits(), "result") == 10


def test_a_worker_shares_with_nobody_who_has_another_name_or_another_credential() -> None:
    some = limits()
    assert [taken(some, "poll"), taken(some, "poll", "w2"), taken(some, "poll", "w1", "other")] == [3, 3, 3]
    assert taken(some, "poll") == 0


def test_a_poll_that_was_answered_with_work_counts_for_nothing() -> None:
    some = limits()
    for _ in range(10):
        some.take("poll", "w1", "t")
        some.give_back("poll", "w1", "t")
    assert taken(some, "poll") == 3


@pytest.mark.parametrize("kind", ["poll", "heartbeat", "register"])
def test_nothing_is_limited_unless_it_is_asked_for(kind: str) -> None:
    assert taken(limits(rate_limiting_enabled=False), kind) == 10
