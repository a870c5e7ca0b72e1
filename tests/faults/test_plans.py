"""The load and the strikes come from the seed alone, and cover what they must."""

from collections import Counter

import pytest

from tests.faults import nemesis, workload
from tests.faults.nemesis import STALLS, TARGETS
from tests.faults.workload import KINDS


def test_the_same_seed_gives_the_same_strikes_and_another_gives_others() -> None:
    assert nemesis.plan(7, 6000, 60) == nemesis.plan(7, 6000, 60)
    assert nemesis.plan(7, 6000, 60) != nemesis.plan(8, 6000, 60)


@pytest.mark.parametrize("seed", range(20))
def test_every_role_is_struck_and_always_under_load(seed: int) -> None:
    strikes = nemesis.plan(seed, 200, 9)
    assert len(strikes) == 9
    assert {strike.role for strike in strikes} == set(TARGETS)
    assert all(10 <= strike.after < 180 for strike in strikes)
    assert [strike.after for strike in strikes] == sorted(strike.after for strike in strikes)


def test_stalls_last_for_a_while_and_kills_do_not() -> None:
    strikes = nemesis.plan(7, 6000, 60, TARGETS + STALLS)
    assert {strike.role for strike in strikes} == {*TARGETS, *STALLS}
    assert all(bool(strike.stall) is strike.role.startswith("stalled ") for strike in strikes)


def test_the_same_seed_gives_the_same_orders_each_with_a_key_of_its_own() -> None:
    orders = workload.orders(7, 500)
    assert orders == workload.orders(7, 500)
    assert len({order.key for order in orders}) == 500


def test_every_kind_of_job_comes_about_as_often_as_it_should() -> None:
    counts = Counter(
        order.request.get("workflow", order.request.get("skill")) for order in workload.orders(7, 2000)
    )
    assert counts["add"] == pytest.approx(20 * (KINDS["one"] + KINDS["slow"]), rel=0.1)
    assert counts["ten"] == pytest.approx(20 * KINDS["ten"], rel=0.25)


def test_every_workflow_that_is_ordered_is_published() -> None:
    named = {order.request["workflow"] for order in workload.orders(7, 500) if "workflow" in order.request}
    assert named == set(workload.GRAPHS)
