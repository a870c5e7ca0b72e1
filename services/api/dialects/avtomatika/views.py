"""Lists and counts in the dialect's words."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID

from services.api.dialects.avtomatika.clients import Client
from services.api.dialects.avtomatika.history_view import history_of
from services.api.dialects.avtomatika.parts import AvtomatikaParts
from shared.application.blueprint_jobs import STATUSES, BlueprintJob, job_of
from shared.application.blueprint_words import CLIENT_TAG, END
from shared.application.clock import now_us
from shared.application.drawing import dot_of
from shared.application.reputation import Standing
from shared.application.summary import JobSummary, WorkerSummary
from shared.domain.values import Json
from shared.domain.worker import worker_id
from shared.readmodels.queries import JobFilter

PAGE: Final = 500
SECRET: Final = frozenset({"security", "token", "access_token"})
"""Members of a registration that nobody is shown."""


async def latest_events(
    parts: AvtomatikaParts, client: Client, limit: int, offset: int
) -> list[dict[str, Any]]:
    """The last event of each of the client's jobs, newest job first."""
    jobs = await _jobs(parts, client, offset + limit)
    ids = [UUID(job.id) for job in jobs[offset:]]
    histories = await asyncio.gather(*(parts.journal.history("job", job_id) for job_id in ids))
    return [
        {**history_of(job_id, commits, commits[-1].last_version)[-1], "rn": 1}
        for job_id, commits in zip(ids, histories, strict=True)
        if commits
    ]


async def quarantined(parts: AvtomatikaParts, client: Client, limit: int = 100) -> list[BlueprintJob]:
    """The client's jobs that were set aside, newest first."""
    jobs = await _jobs(parts, client, limit, frozenset({"quarantined"}))
    ids = [UUID(job.id) for job in jobs]
    histories = await asyncio.gather(*(parts.journal.history("job", job_id) for job_id in ids))
    found = (job_of(job_id, commits) for job_id, commits in zip(ids, histories, strict=True))
    return [job for job in found if job is not None]


async def _jobs(
    parts: AvtomatikaParts, client: Client, most: int, statuses: frozenset[str] = frozenset()
) -> list[JobSummary]:
    wanted = JobFilter(tenant=client.tenant, tags=((CLIENT_TAG, client.name),), statuses=statuses)
    found: list[JobSummary] = []
    cursor = None
    while len(found) < most:
        page = await parts.reads.page(wanted, min(PAGE, most - len(found)), cursor)
        found += page.jobs
        cursor = page.next
        if cursor is None:
            break
    return found


async def dashboard(parts: AvtomatikaParts, client: Client) -> dict[str, Any]:
    """How many workers there are, and how many of the client's jobs in each status."""
    counts = await parts.reads.counts(client.tenant, client.name)
    jobs: Counter[str] = Counter()
    for status, n in counts.items():
        jobs[STATUSES[status]] += n
    queued = counts.get("pending", 0) + counts.get("queued", 0)
    return {"workers": {"total": len(await workers_of(parts))}, "jobs": {"queued": queued, **jobs}}


async def workers_of(parts: AvtomatikaParts) -> list[dict[str, Any]]:
    """All workers that are there: those of HTTP as they told of themselves, others as rows know them."""
    told = [_registered(registration) for registration in parts.workers.registrations()]
    names = {worker["worker_id"] for worker in told}
    others = [
        worker
        for worker in await parts.reads.workers()
        if worker.name not in names and worker.status in ("online", "draining")
    ]
    standings = await parts.reads.standings([worker_id(worker.name) for worker in others])
    return told + [_known(worker, standings.get(worker_id(worker.name))) for worker in others]


def skills_of(workers: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every skill that some worker has, with how many have it."""
    skills: dict[str, dict[str, Any]] = {}
    for worker in workers:
        for told in worker.get("supported_skills") or []:
            skill = {"name": told} if isinstance(told, str) else told
            entry = skills.setdefault(skill["name"], {**skill, "workers": 0})
            entry["workers"] += 1
    return [skills[name] for name in sorted(skills)]


def _registered(registration: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: value for name, value in registration.items() if name not in SECRET}
    tasks = shown.setdefault("current_tasks", [])
    return {"reputation": 1, "_internal_load": len(tasks), **shown}


def _known(worker: WorkerSummary, standing: Standing | None) -> dict[str, Any]:
    return {
        "worker_id": worker.name,
        "worker_type": "daybook",
        "status": "draining" if worker.status == "draining" else "idle",
        "supported_skills": [{"name": skill, "type": skill} for skill in worker.skills],
        "available_skills": worker.skills,
        "hot_skills": [],
        "resources": {},
        "installed_software": {},
        "installed_artifacts": [],
        "capabilities": {"extra": worker.labels},
        "current_tasks": [],
        "timestamp": worker.updated_at // 1_000_000,
        "reputation": 1.0 if standing is None else round(standing.at(now_us()), 3),
    }


def graph_of(name: str, document: Mapping[str, Json]) -> str:
    """The graph in DOT: as the blueprint drew it, else drawn from the workflow's nodes and edges."""
    meta = document.get("meta")
    drawn = meta.get("dot") if isinstance(meta, dict) else None
    if isinstance(drawn, str):
        return drawn
    nodes, edges = document.get("nodes"), document.get("edges")
    assert isinstance(nodes, dict)
    assert isinstance(edges, list)
    # The node behind an end state is left out: the state stands for it.
    targets: dict[str, list[str]] = {node: [] for node in nodes if not node.endswith(END)}
    for edge in edges:
        assert isinstance(edge, dict)
        source, target = str(edge["from"]), str(edge["to"])
        if source in targets and target in targets and target not in targets[source]:
            targets[source].append(target)
    return dot_of(name, targets)
