import pytest

from benchmarks.percentiles import latency, percentile, spread


def test_a_percentile_is_a_value_that_was_measured() -> None:
    ordered = [float(value) for value in range(1, 101)]
    assert [percentile(ordered, share) for share in (0, 0.5, 0.95, 0.99, 1)] == [1, 50, 95, 99, 100]


def test_the_percentiles_of_one_value_are_that_value() -> None:
    assert percentile([3.0], 0.99) == 3.0


def test_nothing_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_latency_is_in_milliseconds_whatever_the_order() -> None:
    found = latency([0.003, 0.001, 0.002])
    assert (found.count, found.p50, found.p99, found.longest) == (3, 2.0, 3.0, 3.0)


def test_the_spread_names_a_run_that_took_place() -> None:
    found = spread([30.0, 10.0, 20.0, 40.0])
    assert (found.median, found.least, found.greatest) == (20.0, 10.0, 40.0)
