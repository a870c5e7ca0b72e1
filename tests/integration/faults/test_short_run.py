"""The fault run in its short form: every role is killed under load, and every rule holds."""

from pathlib import Path
from typing import Literal

import pytest

from tests.faults.nemesis import TARGETS
from tests.faults.run import SHORTER, Plan, run

pytestmark = [pytest.mark.connected, pytest.mark.slow]


@pytest.mark.parametrize("workers", ["native", "sdk"])
async def test_no_rule_breaks_while_every_process_is_killed_under_load(
    tmp_path: Path, workers: Literal["native", "sdk"]
) -> None:
    plan = Plan(
        seed=7,
        jobs=200,
        kills=9,
        rate=12,
        quiet_seconds=90,
        roles=TARGETS,
        environment=SHORTER,
        workers=workers,
    )
    result = await run(plan, tmp_path)
    assert result.holds, f"{result}\n(seed 7)"
