import json
import sys
from pathlib import Path

import pytest

from benchmarks.errors import NotInstalled, SystemFailed
from benchmarks.peers import PYTHON, SCRIPT, Peer, find, measure, rows

W1 = {
    "peer": "p",
    "w": "W1",
    "jobs": 500,
    "secs": 2.0,
    "cpu_ms_job": 2.2,
    "client_cpu_ms_job": 0.2,
    "foreign_cpu": 0.1,
}
COLD = {"peer": "p", "w": "cold", "secs": 1.4}
LATENCY = {
    "peer": "p", "w": "W1-latency", "n": 200, "p50_ms": 6.8, "p95_ms": 9.6, "p99_ms": 14.8, "max_ms": 20.0,
    "cpu_cores": 0.05, "foreign_cpu": 0.0,
}  # fmt: skip


def test_a_peer_s_lines_become_rows() -> None:
    one, many, slow = rows(
        [json.dumps(COLD), json.dumps(W1), json.dumps({**W1, "w": "W3-child-calls"}), json.dumps(LATENCY)]
    )
    assert (one.system, one.scenario, one.rate, one.durability) == ("restate", "W1", 250.0, "always")
    assert (one.system_us, one.cpu_us["load"]) == (2200.0, 200.0)
    assert (many.system, many.scenario) == ("restate child calls", "W3")
    assert slow.scenario == "latency"
    assert slow.seen is not None
    assert slow.seen.p99 == 14.8
    assert slow.system_us == pytest.approx(5000)


def installed(tmp_path: Path, body: str) -> Peer:
    (tmp_path / SCRIPT).write_text(body)
    (tmp_path / PYTHON).parent.mkdir(parents=True)
    (tmp_path / PYTHON).symlink_to(sys.executable)
    return find(tmp_path, None)


def test_a_peer_is_told_what_to_run_and_for_how_long(tmp_path: Path) -> None:
    peer = installed(
        tmp_path,
        "import json, os\n"
        "assert os.environ['ONLY'] == 'W1,W3,W3c', os.environ['ONLY']\n"
        "assert os.environ['PEERS_DIR'] == os.path.dirname(os.path.abspath(__file__))\n"
        f"print(json.dumps({{**{W1!r}, 'secs': float(os.environ['RUN_S'])}}))\n",
    )
    (row,) = measure(peer, ["W1", "bulk", "W3"], 5.0)
    assert row.rate == 100.0


def test_scenarios_that_no_peer_knows_start_nothing(tmp_path: Path) -> None:
    assert measure(installed(tmp_path, "raise SystemExit(1)"), ["bulk"], 1.0) == []


def test_a_peer_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(SystemFailed, match="no such server"):
        measure(installed(tmp_path, "raise SystemExit('no such server')"), ["W1"], 1.0)


def test_a_peer_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotInstalled, match=SCRIPT):
        find(tmp_path, None)
    (tmp_path / SCRIPT).touch()
    with pytest.raises(NotInstalled, match="PEERS_DIR"):
        find(tmp_path, None)
