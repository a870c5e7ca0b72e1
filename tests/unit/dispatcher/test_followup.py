"""Flow control's books, as events change them."""

from uuid import UUID

import pytest

from services.dispatcher.flow import Flow
from services.dispatcher.followup import FollowUp
from services.dispatcher.releases import Releases

JOB = UUID(int=1)


async def nothing(_job: UUID, _name: str, _at: int) -> None:
    pass


@pytest.mark.parametrize(("lapsed", "in_flight"), [(False, 1), (True, 0)])
async def test_what_is_given_back_stays_in_its_queue_and_what_lapsed_is_released_anew(
    lapsed: bool, in_flight: int
) -> None:
    flow = Flow()
    flow.set_slots("s", 4)
    follow_up = FollowUp(flow, Releases(flow), nothing, lambda job, task: None)
    follow_up.observe(JOB, [("TaskReleased", {"task": 1, "skill": "s"})])
    returned = {"task": 1, "attempt": 1, "worker": "w1"} | ({"lapsed": True} if lapsed else {})
    follow_up.observe(JOB, [("TaskReturned", returned)])
    assert flow.in_flight("s") == in_flight
