"""The fault run in its short form: every role is killed under load, and every rule holds."""

from pathlib import Path

import pytest

from tests.faults.nemesis import TARGETS
from tests.faults.run import SHORTER, Plan, run

pytestmark = [pytest.mark.connected, pytest.mark.slow, pytest.mark.timeout(240)]


async def test_no_rule_breaks_while_every_process_is_killed_under_load(tmp_path: Path) -> None:
    result = await run(
        Plan(seed=7, jobs=200, kills=9, rate=12, quiet_seconds=90, roles=TARGETS, environment=SHORTER),
        tmp_path,
    )
    assert result.holds, f"{result}\n(seed 7)"
