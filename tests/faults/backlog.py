"""A backlog of three tenants and mixed urgency: the order it is served in, without its cancelled jobs."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from uuid import UUID

from tests.faults.executions import Execution
from tests.faults.injections import injected
from tests.faults.injections.three_tenants import TENANTS, token_of
from tests.faults.scene import Scene

URGENCIES = (900, 500, 100)
AT_ONCE = 200
ENVIRONMENT = injected("three_tenants")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job of the backlog."""

    tenant: str
    urgency: int
    cancelled: bool


Backlog = dict[UUID, Waiting]


async def fill(
    scene: Scene, count: int, seed: int, told: Callable[[int], None] = lambda done: None
) -> Backlog:
    """Submit `count` jobs that nobody serves yet, one tenant after the other, and cancel some of them.

    `told` hears how many are submitted.
    """
    chance = random.Random(seed)
    backlog: Backlog = {}
    for tenant in TENANTS:
        async with scene.system.client(token_of(tenant), timeout=60) as client:
            todo = [chance.choice(URGENCIES) for _ in range(count // len(TENANTS))]
            for start in range(0, len(todo), AT_ONCE):
                some = todo[start : start + AT_ONCE]
                jobs = [{"skill": "add", "input": {"x": 1, "seconds": 0}, "urgency": u} for u in some]
                answer = await client.post("/v1/jobs/bulk", json={"jobs": jobs})
                assert answer.status_code == 200, answer.text
                for item, urgency in zip(answer.json()["items"], some, strict=True):
                    backlog[UUID(item["job_id"])] = Waiting(tenant, urgency, False)
                told(len(backlog))
            mine = [job for job, waiting in backlog.items() if waiting.tenant == tenant]
            for job in chance.sample(mine, max(1, len(mine) // 100)):
                answer = await client.post(f"/v1/jobs/{job}/cancel", json={})
                assert answer.status_code == 200, answer.text
                backlog[job] = Waiting(tenant, backlog[job].urgency, True)
    return backlog


def problems(backlog: Backlog, executions: Sequence[Execution]) -> list[str]:
    """What is wrong with the order in which one worker, one task at a time, ran the backlog."""
    found = [f"{run.job} was cancelled and was run" for run in executions if backlog[run.job].cancelled]
    runs = sorted(executions, key=lambda run: run.started_us)
    ran = Counter(run.job for run in runs)
    found += [
        f"{job} was run {ran[job]} times" for job, w in backlog.items() if not w.cancelled and ran[job] != 1
    ]
    served = [backlog[run.job] for run in runs]
    for place, (before, after) in enumerate(pairwise(served)):
        if after.urgency > before.urgency:
            found.append(f"urgency {after.urgency} came after {before.urgency} at place {place}")
    for urgency in URGENCIES:
        found += _unfair([job.tenant for job in served if job.urgency == urgency])
    return found


def _unfair(turns: Sequence[str]) -> list[str]:
    """Where one tenant was served twice while another still waited."""
    left, had = Counter(turns), Counter[str]()
    found = []
    for place, tenant in enumerate(turns):
        waiting = [other for other in left if left[other]]
        if had[tenant] > min(had[other] for other in waiting):
            found.append(f"{tenant} was served before its turn at place {place}: {dict(had)}")
        had[tenant] += 1
        left[tenant] -= 1
    return found
