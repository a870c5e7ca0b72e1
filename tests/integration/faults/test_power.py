"""A power cut loses nothing that was acknowledged; and without the syncing that promises it, this is found.

Cuts are made with a file system in a loop-mounted image (tests/faults/disk.py).
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import durable
from shared.readmodels import queries
from shared.readmodels.sqlite import SqliteDatabase
from tests.faults.disk import Disk, refusal
from tests.faults.nemesis import POWER
from tests.faults.run import SHORTER, Plan, run
from tests.faults.scene import rules
from tests.support.system import ROOT

pytestmark = [pytest.mark.connected, pytest.mark.slow]
REFUSAL = refusal()
needs_a_disk = pytest.mark.skipif(REFUSAL is not None, reason=f"power cannot be cut here: {REFUSAL}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path, "disk")
    disk.open()
    yield disk
    disk.close()


@needs_a_disk
async def test_no_rule_breaks_while_the_power_is_cut_under_load(tmp_path: Path) -> None:
    plan = Plan(seed=7, jobs=120, kills=2, rate=20, quiet_seconds=90, roles=(POWER,), environment=SHORTER)
    result = await run(plan, tmp_path)
    assert result.holds, f"{result}\n(seed 7)"
    assert result.numbers["kills of power"] == 2


@needs_a_disk
async def test_a_broker_that_syncs_when_it_wants_loses_acknowledged_jobs(tmp_path: Path) -> None:
    environment = {**SHORTER, "DAYBOOK_NATS_SYNC": "default"}
    plan = Plan(seed=7, jobs=120, kills=1, rate=20, quiet_seconds=5, roles=(POWER,), environment=environment)
    result = await run(plan, tmp_path)
    assert "no_acknowledged_job_is_lost" in rules(result.violations), str(result)


@needs_a_disk
def test_a_cut_takes_what_was_never_synced_and_leaves_what_was(disk: Disk) -> None:
    (disk.mount / "before").write_text("x" * 100_000)
    with (disk.mount / "synced").open("w") as file:
        file.write("y" * 100_000)
        file.flush()
        os.fsync(file.fileno())
    with (disk.mount / "synced").open("a") as file:
        file.write("z")
    (disk.mount / "after").write_text("x")
    disk.cut()
    with pytest.raises(OSError, match="Input/output error"):
        (disk.mount / "later").write_text("x")
    disk.again()
    assert (disk.mount / "synced").read_text() == "y" * 100_000
    assert not (disk.mount / "after").exists()
    assert not (disk.mount / "before").exists() or not (disk.mount / "before").read_text()


@needs_a_disk
def test_a_file_that_was_written_durably_has_its_text_after_a_cut(disk: Disk) -> None:
    durable.replace(disk.mount / "password", b"secret")
    disk.cut()
    disk.again()
    assert (disk.mount / "password").read_text() == "secret"


@needs_a_disk
def test_a_file_that_was_only_renamed_is_empty_after_a_cut(disk: Disk) -> None:
    draft = disk.mount / "password.new"
    draft.write_text("secret")
    draft.replace(disk.mount / "password")
    with (disk.mount / "another").open("w") as file:
        os.fsync(file.fileno())  # whoever syncs takes the names of all others along
    disk.cut()
    disk.again()
    assert (disk.mount / "password").read_text() == ""


@needs_a_disk
def test_a_read_model_that_was_just_made_opens_after_a_cut(disk: Disk) -> None:
    make = """if True:
        import os, sys
        from pathlib import Path
        from shared.readmodels.sqlite import SqliteDatabase
        session = SqliteDatabase(Path(sys.argv[1]) / "readmodel").writer()
        with open(sys.argv[1] + "/another", "w") as file:
            os.fsync(file.fileno())  # whoever syncs takes the names of all others along
        os._exit(0)  # nothing is closed in order
    """
    subprocess.run([sys.executable, "-c", make, str(disk.mount)], check=True, cwd=ROOT)
    disk.cut()
    disk.again()
    session = SqliteDatabase(disk.mount / "readmodel").writer()
    assert queries.position(session) == 0
    session.close()
