import os
import subprocess
import sys

import pytest

from benchmarks.errors import ProcessEnded
from benchmarks.metering import Meter, Sample, peak_rss, role_of, usage


def test_the_command_line_tells_the_role() -> None:
    assert role_of(["python", "-m", "services.api"], "up") == "api"
    assert role_of(["/x/bin/nats-server", "-c", "y"], "up") == "nats-server"
    assert role_of(["python", "-c", "x"], "worker") == "worker"
    assert role_of(["python", "-c", "x"], "up") == "other"


def test_cpu_is_counted_by_role_and_strangers_are_what_is_left() -> None:
    before = Sample(10.0, {1: 1.0, 2: 5.0}, {1: "up", 2: "api"}, own=1.0, machine=100.0)
    after = Sample(12.0, {1: 1.1, 2: 6.0, 3: 0.4}, {1: "up", 2: "api", 3: "api"}, own=1.1, machine=102.0)
    used = usage(before, after)
    assert used.seconds == 2.0
    assert used.cpu == pytest.approx({"up": 0.1, "api": 1.4})
    assert used.foreign_cores == pytest.approx((2.0 - 1.5 - 0.1) / 2)
    assert used.per_job_us(1000) == pytest.approx({"up": 100, "api": 1400})


def test_a_process_that_ended_spoils_the_run() -> None:
    before = Sample(1.0, {1: 1.0, 2: 5.0}, {1: "up", 2: "api"}, 0, 0)
    with pytest.raises(ProcessEnded, match="api"):
        usage(before, Sample(2.0, {1: 1.0}, {1: "up"}, 0, 0))


def test_work_in_a_child_process_is_seen() -> None:
    spin = "for line in __import__('sys').stdin:\n sum(range(10**7)); print(flush=True)"
    shell = f'exec 3<&0; {sys.executable} -c "{spin}" services.dispatcher <&3 & wait'
    with subprocess.Popen(["sh", "-c", shell], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        meter = Meter({parent.pid: "up"})
        parent.stdin.write(b"go\n")
        parent.stdin.flush()
        parent.stdout.readline()
        before = meter.sample()
        assert sorted(before.roles.values()) == ["dispatcher", "up"]
        parent.stdin.write(b"go\n")
        parent.stdin.flush()
        parent.stdout.readline()
        used = usage(before, meter.sample())
        parent.stdin.close()
    assert used.cpu["dispatcher"] > 0.02
    assert used.cpu["up"] < 0.02


def test_a_tree_whose_first_process_is_gone_is_told() -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    with pytest.raises(ProcessEnded, match="worker"):
        Meter({ended.pid: "worker"}).sample()


def test_this_process_has_memory() -> None:
    memory = Meter({os.getpid(): "load"}).memory()["load"]
    assert peak_rss(os.getpid()) >= memory.rss >= memory.pss > 1_000_000
