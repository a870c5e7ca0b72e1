"""Picking up after a start: the read model tells which jobs are open, the journal what came after that.

The read model may be old or empty: it only says where to begin. What it does not know yet comes from the
journal behind its position, so nothing depends on it being right on time.
"""

import logging
from uuid import UUID

from services.dispatcher.desk import Desk
from services.dispatcher.flow import Flow, Held
from services.dispatcher.followup import FollowUp, limits_of
from services.dispatcher.releases import Releases
from services.dispatcher.slots import look
from shared.application.summary import JobSummary
from shared.application.summary_fold import OpenTask
from shared.broker.subjects import PLACED
from shared.readmodels.errors import ReadModelError
from shared.readmodels.reading import ReadModel

log = logging.getLogger("daybook.dispatcher.recovery")


async def recover(
    reads: ReadModel, flow: Flow, releases: Releases, follow_up: FollowUp, desk: Desk, now: float
) -> int:
    """Take in every open job that the read model knows; the sequence behind which the journal goes on.

    Held tasks and those in flight go to flow control from their rows; jobs that wait for something else
    (a wake-up, a child, a handler) are read from the journal, and what their state asks for is done.
    """
    position, jobs = 0, 0
    try:
        async for at, summaries in reads.open_jobs():
            position = at
            for summary in summaries:
                jobs += 1
                _take_in(summary, flow, follow_up, desk, now)
    except ReadModelError as problem:
        log.warning("no read model to begin from (%s): reading the journal from its first commit", problem)
        return 0
    for skill in flow.skills():
        releases.changed(skill)
    log.info("%d open jobs at position %d", jobs, position)
    return position


def _take_in(summary: JobSummary, flow: Flow, follow_up: FollowUp, desk: Desk, now: float) -> None:
    id_ = UUID(summary.id)
    for task in summary.released:
        placed = _held(id_, task, summary.tenant)._replace(skill=PLACED)
        flow.released(placed if task.placed else _held(id_, task, summary.tenant), now)
    if not summary.paused:
        for task in summary.held:
            flow.hold(_held(id_, task, summary.tenant))
    if summary.parent:
        follow_up.adopt(id_, UUID(summary.parent["job"]), summary.parent["activation"])
    retrying = any(task.phase == "retrying" for task in summary.tasks.values())
    if retrying or summary.waits or summary.running_children or summary.handlers or not summary.tasks:
        desk.post(id_, look())


def _held(job: UUID, task: OpenTask, tenant: str) -> Held:
    return Held((job, task.task), task.skill, task.urgency, tenant, limits_of(task.limits or ()))
