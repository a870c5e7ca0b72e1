"""Short runs against the real system: they show that every scenario still works, and measure nothing."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks.results import Outcome
from benchmarks.scenarios.pages import queries


def measured(tmp_path: Path, *arguments: str) -> Outcome:
    out = tmp_path / "out.json"
    command = [sys.executable, "-m", "benchmarks", *arguments, "--data", str(tmp_path), "--json", str(out)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert told.returncode == 0, told.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
    return msgspec.json.decode(out.read_bytes(), type=Outcome)


@pytest.mark.connected
@pytest.mark.slow
def test_every_load_runs_against_the_real_system(tmp_path: Path) -> None:
    scenarios = ["W1", "W2", "W3", "bulk", "latency"]
    found = measured(tmp_path, *scenarios, "--seconds", "0.3", "--repeats", "1", "--durability", "always")
    assert [run.scenario for run in found.loads] == scenarios
    for run in found.loads:
        assert run.jobs > 0
        assert {"api", "dispatcher", "projector", "scheduler", "nats-server", "up", "worker"} < set(
            run.cpu_us
        )
    assert found.loads[-1].read is not None


@pytest.mark.connected
@pytest.mark.slow
def test_replay_and_pages_run_against_the_real_system(tmp_path: Path) -> None:
    found = measured(tmp_path, "replay", "pages", "--events", "2000", "--jobs", "2000", "--pages", "5")
    names = [finding.name for finding in found.findings]
    assert "rebuilt, compared and swapped" in names
    assert {f"{what}, p99" for what in queries(2000)} < set(names)


def test_a_scenario_that_is_none_is_a_wrong_usage(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "W9"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 2
    assert "w9" in told.stderr
