import io

import pytest
from rich.console import Console

from benchmarks.percentiles import Latency
from benchmarks.report import figure, line, show
from benchmarks.results import Finding, LoadRun, Outcome, ratios, repeated


def ran(
    system: str = "daybook", jobs: int = 1000, scenario: str = "W1", durability: str = "always"
) -> LoadRun:
    cpu = {"api": 100.0, "projector": 50.0, "load": 40.0}
    return LoadRun(system, durability, scenario, jobs, 10.0, cpu, 0.05, Latency(jobs, 2, 3, 4, 9))


def test_the_load_generator_is_not_part_of_the_sum() -> None:
    assert ran().system_us == 150.0


def test_the_middle_run_stands_for_its_repeats() -> None:
    rows = repeated([ran(jobs=1000), ran(jobs=3000), ran(jobs=2000), ran(durability="default")])
    assert [(row.middle.durability, row.middle.jobs, row.count) for row in rows] == [
        ("always", 2000, 3),
        ("default", 1000, 1),
    ]
    assert (rows[0].least, rows[0].greatest) == (100.0, 300.0)


def test_ratios_above_one_are_in_our_favour() -> None:
    theirs = LoadRun(
        "restate", "always", "W1", 500, 10.0, {"other": 300.0, "load": 1.0}, 0.0, Latency(500, 8, 9, 10, 11)
    )
    (found,) = ratios(repeated([ran(), theirs, ran(scenario="W2")]))
    assert (found.scenario, found.durability, found.peer) == ("W1", "always", "restate")
    assert (found.rate, found.cpu, found.p50, found.p99) == (2.0, 2.0, 4.0, 2.5)


def test_a_latency_that_only_one_measured_is_not_compared() -> None:
    theirs = LoadRun("restate", "always", "W1", 500, 10.0, {"other": 300.0}, 0.0)
    (found,) = ratios(repeated([ran(), theirs]))
    assert found.p50 is None


def test_the_report_shows_what_was_measured() -> None:
    out = io.StringIO()
    spoilt = LoadRun("daybook", "default", "W2", 900, 10.0, {"api": 7.0, "load": 1.0}, 0.9)
    outcome = Outcome(
        {"processor": "2 x Z80"},
        [ran(), ran(jobs=2000), spoilt],
        [Finding("memory", "always", "sum PSS", 123.4, "MB")],
    )
    show(outcome, Console(file=out, width=180))
    shown = out.getvalue()
    assert "processor 2 x Z80" in shown
    assert "100..200" in shown
    assert "150" in shown
    assert "0.90!" in shown
    assert "the row is spoilt" in shown
    assert "sum PSS" in shown
    assert "dispatcher" not in shown


def test_a_run_in_one_line_names_rate_and_cost() -> None:
    assert line(ran()).startswith("W1 daybook always: 100 jobs/s, 150 µs CPU per job, p50 2.0 ms")


@pytest.mark.parametrize("runs", [[], [ran("restate")]])
def test_nothing_of_ours_gives_no_ratio(runs: list[LoadRun]) -> None:
    assert ratios(repeated(runs)) == []


def test_figures_have_no_exponent() -> None:
    assert [figure(value) for value in (0.0, 0.01234567, 12.345, 999.9, 12345.6, 1e6)] == [
        "0",
        "0.01235",
        "12.35",
        "999.9",
        "12,346",
        "1,000,000",
    ]
