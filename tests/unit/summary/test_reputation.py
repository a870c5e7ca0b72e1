"""Reputation, by its rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.application.reputation import DAY_US, DAYS, HOUR_US, LEAST, Standing

NOON = 20_000 * DAY_US + 12 * HOUR_US


def told(*kinds: str, at: int = NOON) -> Standing:
    """A worker with these results, "" for a good one, all at one time."""
    standing = Standing()
    for kind in kinds:
        tell(standing, kind, at)
    return standing


def tell(standing: Standing, kind: str, at: int) -> None:
    topic = "TaskFailed" if kind else "TaskSucceeded"
    standing.apply(topic, {"error": {"kind": kind, "message": "no"}} if kind else {}, at)


@pytest.mark.parametrize(
    ("kinds", "reputation"),
    [
        ([], 1.0),
        (["", ""], 1.0),
        (["permanent"], 0.95),
        (["permanent", ""], 0.951),
        (["contract_violation"], 0.8),
        (["contract_violation"] * 9, LEAST),
        (["transient", "timeout", "invalid_input", "cancelled"], 1.0),
    ],
)
def test_each_result_changes_it_by_what_it_is(kinds: list[str], reputation: float) -> None:
    assert told(*kinds).at(NOON) == pytest.approx(reputation)


def test_each_hour_it_goes_towards_the_share_of_good_results() -> None:
    standing = told("", "", "", "permanent")
    assert standing.reputation == pytest.approx(0.95)
    an_hour = 0.7 * 0.75 + 0.3 * 0.95
    assert standing.at(NOON + HOUR_US) == pytest.approx(an_hour)
    assert standing.at(NOON + 2 * HOUR_US) == pytest.approx(0.7 * 0.75 + 0.3 * an_hour)
    assert standing.at(NOON + 200 * HOUR_US) == pytest.approx(0.75)
    tell(standing, "", NOON + HOUR_US)
    assert standing.reputation == pytest.approx(an_hour + 0.001)


def test_transient_failures_count_in_the_share_and_what_the_worker_could_not_help_does_not() -> None:
    assert told("", "transient").at(NOON + 100 * HOUR_US) == pytest.approx(0.5)
    assert told("", "invalid_input", "cancelled").at(NOON + 100 * HOUR_US) == pytest.approx(1.0)


def test_what_is_older_than_thirty_days_is_forgotten() -> None:
    standing = told("permanent")
    assert standing.at(NOON + (DAYS - 1) * DAY_US) == LEAST
    tell(standing, "", NOON + DAYS * DAY_US)
    assert standing.days == [(20_000 + DAYS, 1, 1)]
    assert standing.at(NOON + (DAYS + 1) * DAY_US) == pytest.approx(1.0)


def test_a_result_whose_clock_is_behind_changes_no_hour() -> None:
    standing = told("", "permanent")
    tell(standing, "", NOON - 3 * HOUR_US)
    assert standing.hour == NOON // HOUR_US
    assert standing.reputation == pytest.approx(0.951)


KINDS = st.sampled_from(["", "", "transient", "permanent", "contract_violation", "invalid_input"])


@given(st.lists(st.tuples(KINDS, st.integers(0, 80 * DAY_US)), max_size=60), st.integers(0, 90 * DAY_US))
def test_it_is_always_between_a_tenth_and_one(results: list[tuple[str, int]], later: int) -> None:
    standing = Standing()
    for kind, at in results:
        tell(standing, kind, at)
    assert LEAST <= standing.at(later) <= 1
