"""Who may call what: every route of the server has a row here, and each row is tried."""

from collections.abc import Iterator

import pytest
from fastapi.routing import APIRoute

from services.api.access import Allowed
from services.api.http import routers_of
from tests.unit.api.world import World, world

JOB = "00000000-0000-7000-8000-000000000000"

# (method, path) -> the action that a caller needs, None for everybody.
ROWS: dict[tuple[str, str], str | None] = {
    ("POST", "/v1/jobs"): "jobs.submit",
    ("POST", "/v1/jobs/bulk"): "jobs.submit",
    ("GET", "/v1/jobs"): "jobs.read",
    ("GET", "/v1/jobs/{job_id}"): "jobs.read",
    ("GET", "/v1/jobs/{job_id}/history"): "jobs.read",
    ("GET", "/v1/jobs/{job_id}/events"): "jobs.read",
    ("POST", "/v1/jobs/{job_id}/cancel"): "jobs.command",
    ("POST", "/v1/jobs/{job_id}/pause"): "jobs.command",
    ("POST", "/v1/jobs/{job_id}/resume"): "jobs.command",
    ("POST", "/v1/jobs/{job_id}/approve"): "jobs.command",
    ("POST", "/v1/jobs/{job_id}/signals/{name}"): "jobs.command",
    ("POST", "/v1/jobs/{job_id}/retry"): "jobs.submit",
    ("PUT", "/v1/workflows/{name}"): "workflows.publish",
    ("GET", "/v1/workflows"): "workflows.read",
    ("GET", "/v1/workflows/{name}"): "workflows.read",
    ("GET", "/v1/workers"): "workers.read",
    ("GET", "/v1/stats"): "stats.read",
    ("GET", "/"): None,
    ("GET", "/metrics"): None,
    ("GET", "/livez"): None,
    ("GET", "/readyz"): None,
    ("GET", "/v1/health/live"): None,
    ("GET", "/v1/health/ready"): None,
}

# What each token of the test world may do.
MAY: dict[str, set[str]] = {
    "token-a": {"jobs.submit", "jobs.read", "jobs.command", "workflows.publish", "workflows.read"}
    | {"workers.read", "stats.read"},
    "token-auditor": {"jobs.read", "workflows.read", "workers.read", "stats.read"},
    "token-suspended": {"jobs.read", "workflows.read", "workers.read", "stats.read"},
    "token-nobody": set(),
}


def routes_of(w: World) -> Iterator[tuple[str, str, str | None]]:
    """(method, path, action) of all routes, the hot ones too."""
    for method, path in w.server.hot_routes:
        yield method, path, ROWS[(method, path)]
    for route in (r for router in routers_of(w.parts) for r in router.routes):
        if isinstance(route, APIRoute):
            needs = [d.call for d in route.dependant.dependencies if isinstance(d.call, Allowed)]
            action = needs[0].action if needs else None
            for method in route.methods or ():
                yield method, route.path, action


async def test_every_route_has_its_row() -> None:
    async with world() as w:
        assert {(method, path): action for method, path, action in routes_of(w)} == ROWS


@pytest.mark.parametrize(("method", "path"), [key for key, action in ROWS.items() if action is not None])
async def test_each_row_is_kept(method: str, path: str) -> None:
    action, url = ROWS[(method, path)], path.format(job_id=JOB, name="w")
    async with world() as w:
        for token in (None, "", "wrong", "token-a\x00"):
            async with w.client(None) as client:
                headers = {} if token is None else {"Authorization": f"Bearer {token}"}
                answer = await client.request(method, url, headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
                assert answer.headers["www-authenticate"].startswith("Bearer")
        for token, actions in MAY.items():
            async with w.client(token) as client:
                answer = await client.request(method, url)
                allowed = action in actions
                assert (answer.status_code not in (401, 403)) is allowed, (token, answer.text)
                if not allowed:
                    assert answer.json()["code"] == "forbidden"
        assert w.dispatcher.asked == []


@pytest.mark.parametrize(("method", "path"), [key for key, action in ROWS.items() if action is None])
async def test_the_open_routes_need_no_token_and_tell_of_no_job(method: str, path: str) -> None:
    async with world() as w, w.client() as client, w.client(None) as stranger:
        job = (await client.post("/v1/jobs", json={"skill": "hidden-skill"})).json()["job_id"]
        answer = await stranger.request(method, path)
        assert answer.status_code == 200
        assert job not in answer.text
        assert "hidden-skill" not in answer.text
