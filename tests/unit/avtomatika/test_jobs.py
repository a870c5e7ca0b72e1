"""Submitting, reading and cancelling, as clients of blueprints do it."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from services.api.dialects.avtomatika.task_ids import task_id_of
from services.api.gateway.tasks import Key
from shared.application.blueprint_words import task_id
from shared.application.ids import new_id
from shared.domain.job import GoTo
from tests.unit.avtomatika.world import world


async def test_a_job_is_accepted_and_known_at_once(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.client() as client:
        answer = await client.post("/api/v1/jobs/flow", json={"initial_data": {"x": 1}})
        assert answer.status_code == 202
        job = answer.json()["job_id"]
        assert answer.json() == {"status": "accepted", "job_id": job}
        state = await w.state(job)
        assert state["status"] == "pending"
        assert state["blueprint_name"] == "flow"
        assert state["initial_data"] == {"x": 1}
        assert state["current_state"] == "start"


async def test_everything_that_is_asked_for_reaches_the_domain(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        job = await w.submit(
            {
                "webhook_url": "https://example.org/hook",
                "dispatch_timeout": 60,
                "result_timeout": 300,
                "metadata": {"order": 7},
                "security": {"signature": "s"},
                "policy": {"allowed_skills": ["resize"]},
                "max_transitions": 5,
            }
        )
        accepted = w.native.journal.commits[-1].events[0][1]
        assert accepted["owner"] == "alice"
        assert accepted["origin"] == "avtomatika"
        assert accepted["retry"]["max_attempts"] == 4
        assert accepted["retry"]["when_exhausted"] == "quarantine"
        assert accepted["deadline"] == pytest.approx(w.native.journal.commits[-1].at + 300e6, abs=2e6)
        assert accepted["metadata"]["daybook.client"] == {"plan": "gold", "params": {"languages": ["en"]}}
        state = await w.state(job)
        assert (state["dispatch_timeout"], state["result_timeout"]) == (60, 300)
        assert state["metadata"] == {"order": 7}
        assert state["policy"] == {"allowed_skills": ["resize"]}
        assert state["max_transitions"] == 5
        assert "security" not in state


async def test_how_deep_jobs_nest_is_a_setting(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.submit()
        assert "max_depth" not in w.native.journal.commits[-1].events[0][1]
    async with world(tmp_path, max_holarchy_depth=3) as w:
        await w.submit()
        assert w.native.journal.commits[-1].events[0][1]["max_depth"] == 3


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "Invalid JSON body"),
        (b"{nope", "Invalid JSON body"),
        (b'[{"initial_data": {}}]', "Invalid JSON body"),
        (b"null", "Invalid JSON body"),
        (b"[]", "Invalid JSON body"),
        (b'{"initial_data": "s"}', "'initial_data' must be an object"),
        (b'{"dispatch_timeout": -1}', "'dispatch_timeout' must be a number of seconds above 0"),
        (b'{"result_timeout": true}', "'result_timeout' must be a number of seconds above 0"),
        (b'{"webhook_url": "file:///etc/passwd"}', "'webhook_url' must be an absolute http or https URL"),
        (b'{"policy": []}', "'policy' must be a dictionary"),
        (b'{"policy": {"allowed_skills": []}}', "'policy.allowed_skills' must be a non-empty list"),
        (b'{"max_transitions": 101}', "'max_transitions' must be an integer between 1 and 100"),
        (b'{"metadata": {"daybook.x": 1}}', "'metadata': keys that begin with"),
    ],
)
async def test_a_wrong_body_is_told_what_is_wrong(body: bytes, text: str, tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.client() as client:
        answer = await client.post("/api/v1/jobs/flow", content=body)
        assert answer.status_code == 400
        assert answer.json()["error"].startswith(text)
        assert list(answer.json()) == ["error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/api/v1/nothing", 404, None),
        ("GET", "/api/v1/jobs/x/nothing", 404, None),
        ("DELETE", "/api/v1/jobs/x", 405, "GET, HEAD"),
        ("PUT", "/api/v1/jobs/flow", 405, "GET, HEAD, POST"),
        ("PATCH", "/api/v1/dashboard", 405, "GET, HEAD"),
        ("GET", "/api/v1/jobs/x/cancel", 405, "POST"),
        ("POST", "/api/v1/workers", 405, "GET, HEAD"),
        ("POST", "/api/jobs", 405, "GET, HEAD"),
        ("POST", "/api/v1/jobs/x/history", 405, "GET, HEAD"),
        ("POST", "/api/v1/jobs/x/files/content/a/b", 405, "PUT"),
        ("POST", "/api/v1/jobs/019a0000-0000-7000-8000-000000000000", 405, "GET, HEAD"),
        ("POST", "/api/v1/jobs/unknown", 404, None),
        ("POST", "/api/v1/nothing", 404, None),
    ],
)
async def test_a_path_that_takes_another_method_says_which_and_others_are_not_found(
    method: str, path: str, status: int, allow: str | None, tmp_path: Path
) -> None:
    async with world(tmp_path) as w, w.client() as client:
        answer = await client.request(method, path)
        assert (answer.status_code, answer.headers.get("allow")) == (status, allow)
        assert list(answer.json()) == ["error"]


async def test_the_failure_of_an_end_state_names_the_state(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        job = await w.submit()
        await w.act(job, GoTo("failed"))
        await w.act(job, GoTo("failed:end"))
        assert (await w.state(job))["error_message"] == "the job ended at 'failed'"


async def test_an_array_is_no_body(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.client() as client:
        assert (await client.post("/api/v1/jobs/flow", content=b"[]")).status_code == 400


async def test_the_policy_may_not_be_larger_than_the_setting(tmp_path: Path) -> None:
    async with world(tmp_path, max_policy_bytes=20) as w, w.client() as client:
        answer = await client.post("/api/v1/jobs/flow", json={"policy": {"note": "x" * 30}})
        assert answer.status_code == 400
        assert "MAX_POLICY_SIZE_BYTES" in answer.json()["error"]


async def test_initial_data_must_fit_the_blueprints_schema(tmp_path: Path) -> None:
    meta = {"api_version": "v1", "api_endpoint": "jobs/strict", "input_schema": {"required": ["x"]}}
    async with world(tmp_path) as w, w.client() as client:
        await w.publish("strict", meta=meta)
        refused = await client.post("/api/v1/jobs/strict", json={"initial_data": {}})
        assert refused.status_code == 400
        assert refused.json()["error"].startswith("Input validation failed for blueprint 'strict': ")
        assert (await client.post("/api/v1/jobs/strict", json={"initial_data": {"x": 1}})).status_code == 202


@pytest.mark.parametrize("path", ["/api/v1/jobs/nothing", "/api/v2/jobs/flow", "/api/jobs/flow", "/api/v1/x"])
async def test_an_endpoint_that_no_blueprint_has_is_not_found(path: str, tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.client() as client:
        answer = await client.post(path, json={})
        assert (answer.status_code, answer.json()) == (404, {"error": "Blueprint not found"})


async def test_an_endpoint_may_have_no_version_and_extra_slashes(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.client() as client:
        await w.publish("bare", meta={"api_endpoint": "/orders/new"})
        assert (await client.post("/api/orders/new", json={})).status_code == 202
        assert (await client.post("/api//orders//new/", json={})).status_code == 202


async def test_the_prefix_is_a_setting(tmp_path: Path) -> None:
    async with world(tmp_path, client_api_prefix="clients") as w, w.client() as client:
        assert (await client.post("/clients/v1/jobs/flow", json={})).status_code == 202
        assert (await client.post("/api/v1/jobs/flow", json={})).status_code == 404


async def test_a_key_makes_one_job(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.client() as client:
        key = {"Idempotency-Key": "k1"}
        first = await client.post("/api/v1/jobs/flow", json={}, headers=key)
        again = await client.post("/api/v1/jobs/flow", json={}, headers=key)
        other = await client.post("/api/v1/jobs/flow", json={"metadata": {"a": 1}}, headers=key)
        assert first.json() == again.json()
        assert other.status_code == 400


async def test_the_result_is_hidden_until_the_job_has_ended(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        job = await w.submit()
        await w.act(job, GoTo("finished", context={"width": 640}))
        assert "result" not in await w.state(job)
        assert "result" not in await w.state(job, query="?fields=result")
        await w.act(job, GoTo("finished:end"))
        state = await w.state(job)
        assert (state["status"], state["current_state"], state["result"]) == ("finished", "finished", 640)
        assert await w.state(job, query="?fields=status,result") == {
            "id": job,
            "status": "finished",
            "result": 640,
        }


async def test_a_worker_s_output_becomes_history_and_result(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        job = await w.submit()
        await w.work(job, {"outcome": "success"})
        await w.act(job, GoTo("finished:end"))
        state = await w.state(job)
        assert state["state_history"] == {"outcome": "success"}
        assert state["result"] == "success"
        assert state["assigned_worker_id"] == "w1"
        assert (state["progress"], state["progress_message"]) == (0.5, "half")
        assert state["current_task_id"] == task_id(UUID(job), 1, 1)
        assert state["current_task_info"]["transitions"] == {"success": "finished", "failure": "failed"}
        assert state["task_dispatched_at"] <= state["task_picked_up_at"] <= state["timestamp"]


async def test_a_state_s_own_value_is_the_result_before_the_last_one(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        job = await w.submit()
        await w.finish(job, {"finished": "mine", "later": 2})
        assert (await w.state(job))["result"] == "mine"


async def test_both_doors_name_a_task_alike() -> None:
    job = new_id()
    assert task_id(job, 3, 2) == task_id_of(Key(job, 3, 2))


async def test_another_client_s_job_is_as_unknown_as_none(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.client("token-bob") as bob:
        job = await w.submit()
        for path in (f"/api/v1/jobs/{job}", f"/api/v1/jobs/{job}/history", "/api/v1/jobs/nope"):
            answer = await bob.get(path)
            assert (answer.status_code, answer.json()) == (404, {"error": "Job not found"})
        answer = await bob.post(f"/api/v1/jobs/{job}/cancel")
        assert (answer.status_code, answer.json()) == (404, {"error": "Job not found"})
        upload = await bob.get(f"/api/v1/jobs/{job}/files/upload?filename=a")
        assert upload.status_code == 404
        assert (await bob.get("/api/v1/jobs")).json() == []
        assert (await bob.get("/api/v1/dashboard")).json()["jobs"] == {"queued": 0}


async def test_cancelling_answers_as_documented(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.client() as client:
        job = await w.submit()
        for _ in range(2):
            answer = await client.post(f"/api/v1/jobs/{job}/cancel")
            assert answer.status_code == 200
            assert answer.json()["status"] == "cancellation_request_accepted"
        assert (await w.state(job))["status"] == "cancelled"
        ended = await w.submit()
        await w.finish(ended)
        answer = await client.post(f"/api/v1/jobs/{ended}/cancel")
        assert (answer.status_code, answer.json()) == (404, {"error": "Job not found or already terminal."})


async def test_history_has_gapless_versions_worker_names_and_no_secret(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.client() as client:
        job = await w.submit({"initial_data": {"x": 1}})
        await w.work(job, {"y": 2})
        await w.act(job, GoTo("finished:end"))
        answer = await client.get(f"/api/v1/jobs/{job}/history")
        events: list[dict[str, Any]] = answer.json()
        assert [event["version"] for event in events] == list(range(1, len(events) + 1))
        types = [event["event_type"] for event in events]
        assert types[:2] == ["job_created", "state_started"]
        assert types[-1] == "job_completed"
        assert {"task_dispatched", "task_finished", "state_finished", "worker_event:progress"} <= set(types)
        finished = events[types.index("task_finished")]
        assert (finished["worker_id"], finished["attempt_number"]) == ("w1", 1)
        assert finished["origin_task_id"].startswith("task-")
        assert events[0]["context_snapshot"]["status"] == "pending"
        assert "result" not in events[0]["context_snapshot"]
        assert events[-1]["context_snapshot"]["result"] == 2
        assert len({event["event_id"] for event in events}) == len(events)
        assert "token-alice" not in answer.text
        assert all(event["timestamp"].endswith("+00:00") for event in events)


async def test_the_list_shows_the_last_event_of_each_job(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.client() as client:
        jobs = [await w.submit() for _ in range(3)]
        await w.finish(jobs[0])
        listed = (await client.get("/api/v1/jobs")).json()
        assert [event["job_id"] for event in listed] == jobs[::-1]
        assert [event["event_type"] for event in listed] == [
            "state_started",
            "state_started",
            "job_completed",
        ]
        assert {event["rn"] for event in listed} == {1}
        page = (await client.get("/api/v1/jobs?limit=1&offset=1")).json()
        assert [event["job_id"] for event in page] == [jobs[1]]
        answer = await client.get("/api/v1/jobs?limit=x")
        assert (answer.status_code, answer.json()) == (400, {"error": "Invalid limit/offset parameter"})


async def test_files_are_not_implemented_without_s3(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.client() as client:
        job = f"/api/v1/jobs/{await w.submit()}/files"
        not_enabled = (501, {"error": "S3 support is not enabled"})
        for answer, expected in (
            (await client.get(f"{job}/upload?filename=a.txt"), not_enabled),
            (await client.put(f"{job}/content/a/b.txt", content=b"data"), not_enabled),
            (await client.get(f"{job}/download/a.txt"), not_enabled),
            (
                await client.get(f"{job}/upload"),
                (400, {"error": "job_id and filename (query param) are required"}),
            ),
            (
                await client.get(f"{job}/upload?filename=a&expires_in=x"),
                (400, {"error": "expires_in must be an integer"}),
            ),
        ):
            assert (answer.status_code, answer.json()) == expected
