"""The paths under /_public, and the system's own for clients."""

import re
from pathlib import Path
from uuid import UUID

import pytest

from services.dispatcher.children import Children
from shared.domain.graph import Graph
from shared.domain.job import Dispatch, GoTo, Job, RunWorkflow, StartChild, TaskError, TaskSpec
from tests.unit.avtomatika.world import FLOW, world

PRODUCTION = {
    "profile": "production",
    "client_token": "a-client-token-of-production",
    "worker_token": "a-worker-token-of-production",
}
SEED_METRICS = (
    "jobs_total",
    "jobs_failed_total",
    "task_queue_length",
    "active_workers",
    "loop_lag_seconds",
    "ratelimit_blocked_total",
    "jobs_timeouts_total",
    "tasks_ignored_total",
    "tasks_hot_dispatched_total",
)


async def test_the_status_is_ok_for_everybody(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.client(None) as client:
        answer = await client.get("/_public/status")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        assert answer.headers["x-rxon-version"]


async def test_the_metrics_have_the_names_that_operators_know(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.client(None) as client:
        await w.submit()
        answer = await client.get("/_public/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        for name in SEED_METRICS:
            assert re.search(rf"^orchestrator_{name}[ {{]", answer.text, re.MULTILINE), name
        assert 'orchestrator_jobs_total{blueprint="flow"} 1.0' in answer.text
        assert "daybook_http_requests_total" in answer.text


def metric(text: str, name: str, **labels: str) -> float:
    """A value of a page, 0 while it is not there."""
    told = ",".join(f'{label}="{value}"' for label, value in labels.items())
    whole = f"orchestrator_{name}{{{told}}}" if told else f"orchestrator_{name}"
    found = [line for line in text.splitlines() if line.startswith(f"{whole} ")]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


async def test_each_metric_of_jobs_moves_with_what_it_counts(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.client(None) as client:

        async def told(name: str, **labels: str) -> float:
            return metric((await client.get("/_public/metrics")).text, name, blueprint="flow", **labels)

        waiting = await w.submit({"policy": {"allowed_skills": ["sing"]}})
        assert (await told("jobs_total"), await told("task_queue_length")) == (1, 1)
        assert (await told("jobs_failed_total"), await told("job_duration_seconds_count")) == (0, 0)
        await w.act(waiting, Dispatch(TaskSpec("resize"), {"success": "finished"}))
        assert (await told("jobs_failed_total"), await told("policy_violations_total")) == (1, 1)
        assert (await told("task_queue_length"), await told("job_duration_seconds_count")) == (0, 1)
        ended = await w.submit()
        await w.finish(ended)
        assert await told("jobs_total") == 2
        assert await told("job_duration_seconds_count") == 2
        assert await told("job_duration_seconds_bucket", le="+Inf") == 2
        assert await told("job_duration_seconds_sum") > 0
        late = await w.submit({"result_timeout": 0.000001})
        await w.decide(late, lambda job, facts: job.expire(facts))
        assert (await told("jobs_timeouts_total"), await told("jobs_failed_total")) == (1, 2)
    async with world(tmp_path, max_holarchy_depth=1) as w, w.client(None) as client:
        parent = await w.submit()
        await w.act(parent, RunWorkflow("flow", {"success": "finished"}))
        recorded = await w.native.journal.load(Job, UUID(parent))
        assert recorded is not None
        (effect,) = recorded.aggregate.outstanding()
        assert isinstance(effect, StartChild)
        native = w.native.parts
        children = Children(native.journal, native.definitions, native.submit)
        child = await children.start(recorded.aggregate, effect)
        assert (child.spec.depth, child.spec.max_depth) == (1, 1)
        await w.act(str(child.id), RunWorkflow("flow", {"success": "finished"}))
        page = (await client.get("/_public/metrics")).text
        assert metric(page, "holarchy_depth_exceeded_total", blueprint="flow") == 1
        assert metric(page, "history_integrity_failures_total") == 0


async def test_a_decision_moves_the_job_once(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.client(None) as client:
        job = await w.submit()
        path = f"/_public/webhooks/approval/{job}"
        early = await client.post(path, json={"decision": "approved"})
        assert (early.status_code, early.json()) == (
            409,
            {"error": "Job is not in a state that can be approved"},
        )
        await w.ask(job)
        assert (await w.state(job))["status"] == "waiting_for_human"
        for body, text in (
            (b"{nope", "Invalid JSON body"),
            (b"{}", "decision is required in body"),
            (b'{"decision": "maybe"}', "Invalid decision 'maybe' for this job"),
        ):
            wrong = await client.post(path, content=body)
            assert (wrong.status_code, wrong.json()) == (400, {"error": text})
        right = await client.post(path, json={"decision": "approved"})
        assert (right.status_code, right.json()) == (200, {"status": "approval_received", "job_id": job})
        assert (await client.post(path, json={"decision": "approved"})).status_code == 409
        unknown = await client.post("/_public/webhooks/approval/nope", json={"decision": "approved"})
        assert (unknown.status_code, unknown.json()) == (404, {"error": "Job not found"})


async def test_production_asks_who_decides(tmp_path: Path) -> None:
    async with world(tmp_path, **PRODUCTION) as w:
        job = await w.submit()
        await w.ask(job)
        path, body = f"/_public/webhooks/approval/{job}", {"decision": "approved"}
        async with w.client(None) as nobody, w.client("token-bob") as bob, w.client() as alice:
            refused = await nobody.post(path, json=body)
            assert (refused.status_code, refused.json()) == (401, {"error": "Client authentication required"})
            assert (await bob.post(path, json=body)).status_code == 404
            assert (await alice.post(path, json=body)).status_code == 200


async def test_a_link_decides_once_for_one_wait(tmp_path: Path) -> None:
    async with world(tmp_path, **PRODUCTION) as w, w.client(None) as holder:
        job, other = await w.submit(), await w.submit()
        await w.ask(job)
        await w.ask(other)
        link = (await w.state(job))["approval_url"]
        token = link.partition("?")[2]
        for forged in (link[:-2] + "xx", f"/_public/webhooks/approval/{other}?{token}", link + "."):
            assert (await holder.post(forged, json={"decision": "approved"})).status_code == 403
        assert (await holder.post(link, json={"decision": "approved"})).status_code == 200
        assert (await holder.post(link, json={"decision": "approved"})).status_code == 409
        assert "approval_url" not in await w.state(job)


async def test_only_development_may_throw_everything_away(tmp_path: Path) -> None:
    async with world(tmp_path, **PRODUCTION) as w, w.client() as client:
        answer = await client.post("/_public/debug/flush_db")
        assert (answer.status_code, answer.json()) == (404, {"error": "Not Found"})


async def test_an_owner_sees_the_jobs_that_were_set_aside(tmp_path: Path) -> None:
    async with (
        world(tmp_path) as w,
        w.client() as alice,
        w.client("token-bob") as bob,
        w.client(None) as nobody,
    ):
        job = await w.submit()
        await w.submit()
        for attempt in range(1, 5):
            await w.decide(
                job,
                lambda aggregate, facts, attempt=attempt: aggregate.handler_failed(
                    1, TaskError("transient", "it broke", "x"), facts, attempt
                ),
            )
        assert (await w.state(job))["status"] == "quarantined"
        (listed,) = (await alice.get("/_public/jobs/quarantined")).json()
        assert (listed["id"], listed["error_message"]) == (job, "it broke")
        assert (await bob.get("/_public/jobs/quarantined")).json() == []
        assert (await nobody.get("/_public/jobs/quarantined")).status_code == 401


async def test_the_documentation_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.client(None) as client:
        await w.submit()  # so that the endpoint is known
        answer = await client.get("/_public/docs")
        assert answer.headers["content-type"].startswith("text/html")
        assert "/api/v1/jobs/flow" in answer.text
        assert not re.search(r"(?:src|href)=|https?://", answer.text)
        policy = answer.headers["content-security-policy"]
        assert "script-src 'sha256-" in policy
        assert "unsafe" not in policy


async def test_graphs_workers_and_counts(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.client() as client:
        drawn = await client.get("/api/v1/blueprints/flow/graph")
        assert drawn.headers["content-type"] == "text/vnd.graphviz; charset=utf-8"
        lines = drawn.text.splitlines()
        assert lines[:3] == ["// State Machine for flow", "digraph {", "\tnode [shape=box style=rounded]"]
        assert "\tstart -> finished" in lines
        assert "\tfailed [label=failed]" in lines
        assert len(lines) == len(set(lines))
        await w.publish(
            "keywords",
            entry="node",
            nodes={"node": {"kind": "task", "skill": "s"}, "1a": {"kind": "end"}},
            edges=[{"from": "node", "port": "success", "to": "1a"}],
        )
        assert '\t"node" -> "1a"' in (await client.get("/api/v1/blueprints/keywords/graph")).text
        await w.publish("own", meta={"dot": "// mine\n"})
        assert (await client.get("/api/v1/blueprints/own/graph")).text == "// mine\n"
        missing = await client.get("/api/v1/blueprints/zzz/graph")
        assert (missing.status_code, missing.json()) == (404, {"error": "Blueprint not found"})
        (worker,) = (await client.get("/api/v1/workers")).json()
        assert (worker["worker_id"], worker["status"], worker["reputation"]) == ("w1", "idle", 1)
        await w.submit()
        ended = await w.submit()
        await w.finish(ended)
        counts = (await client.get("/api/v1/dashboard")).json()
        assert counts == {"workers": {"total": 1}, "jobs": {"queued": 1, "pending": 1, "finished": 1}}
        reload = await client.post("/api/v1/admin/reload-workers")
        assert (reload.status_code, reload.json()) == (400, {"error": "WORKERS_CONFIG_PATH is not set"})


async def test_a_worker_s_skills_are_in_the_catalog(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.client() as client:
        told = [
            {"worker_id": "a", "supported_skills": [{"name": "resize", "version": "1"}]},
            {"worker_id": "b", "supported_skills": [{"name": "resize"}, "blur"]},
        ]
        w.workers.told = told
        catalog = (await client.get("/api/v1/workers/catalog")).json()
        assert [(skill["name"], skill["workers"]) for skill in catalog] == [("blur", 1), ("resize", 2)]
        assert catalog[1]["version"] == "1"
        reloaded = await client.post("/api/v1/admin/reload-workers")
        assert (reloaded.status_code, reloaded.json()) == (200, {"status": "worker_configs_reloaded"})


async def test_a_workers_file_that_cannot_be_used_is_said_without_its_words(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.client() as client:
        w.workers.unusable = "/etc/workers.toml: worker gpu-1 needs a token"
        answer = await client.post("/api/v1/admin/reload-workers")
        text = "The workers' file cannot be used; the tokens that were known still hold"
        assert (answer.status_code, answer.json()) == (400, {"error": text})


async def test_the_clients_api_can_be_left_out(tmp_path: Path) -> None:
    async with world(tmp_path, client_api_enabled=False) as w, w.client() as client:
        assert (await client.get("/api/v1/dashboard")).status_code == 404
        assert (await client.get("/_public/status")).status_code == 200


@pytest.mark.parametrize("path", ["/_public/nothing", "/_public"])
async def test_an_unknown_path_is_refused_in_the_dialect_s_form(path: str, tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.client() as client:
        answer = await client.get(path)
        assert (answer.status_code, answer.json()) == (404, {"error": "Not Found"})


async def test_a_failed_end_shows_its_message(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        job = await w.submit()
        await w.act(job, GoTo("failed"))
        await w.act(job, GoTo("failed:end"))
        state = await w.state(job)
        assert (state["status"], state["current_state"]) == ("failed", "failed")
        assert state["error_message"]


def test_the_flow_of_these_tests_is_a_graph() -> None:
    assert Graph.parse(FLOW).entry == "start"
