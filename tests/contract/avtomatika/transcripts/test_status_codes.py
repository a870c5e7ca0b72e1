"""What the original answered to each thing that a worker can get wrong, held against what Daybook answers."""

from typing import Any

import pytest

from tests.contract.avtomatika.transcripts.comparing import recording
from tests.contract.avtomatika.transcripts.deviations import expected
from tests.contract.avtomatika.transcripts.stage import Stage
from tests.contract.avtomatika.transcripts.status_codes import REQUESTS

pytestmark = [pytest.mark.connected, pytest.mark.slow]

FILE = "09_worker_api_status_codes"
BY_ITS_CLIENT = "job"
"""One of the recorded answers is a client's view of the job; 06 has its like."""

RECORDED = [each for each in recording(FILE) if each["name"] != BY_ITS_CLIENT]


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda each: each["name"])
async def test_the_answer_is_the_recorded_one(stage: Stage, recorded: dict[str, Any]) -> None:
    stage.ids["other-worker"] = "another-worker"
    if recorded["name"].startswith("poll task"):
        await stage.register()
        params = {"q": 1}
        await stage.submit(params=params, dispatch_timeout=60, result_timeout=100, metadata={"m": 1})
    answer = await REQUESTS[recorded["name"]](stage)
    if recorded["answer"]["body"] == "":
        recorded["answer"].pop("body")
    assert stage.compared(recorded["answer"], answer) == expected(FILE, recorded["name"])


def test_every_recorded_answer_has_its_request() -> None:
    assert {each["name"] for each in RECORDED} == set(REQUESTS)
