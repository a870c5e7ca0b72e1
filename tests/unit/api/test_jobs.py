from typing import Any
from uuid import UUID

import orjson
import pytest

from tests.unit.api.world import World, world

WAITING = {"nodes": {"ask": {"kind": "wait", "for": "approval", "decisions": ["yes", "no"]}}, "edges": []}
NOBODY = "00000000-0000-7000-8000-000000000000"


async def submitted(w: World, **order: Any) -> str:
    async with w.client() as client:
        job: str = (await client.post("/v1/jobs", json=order or {"skill": "resize"})).json()["job_id"]
        return job


async def test_a_job_is_read_from_the_journal_while_the_read_model_is_behind() -> None:
    async with world() as w, w.client() as client:
        job = await submitted(w)
        current = (await client.get(f"/v1/jobs/{job}")).json()
        w.reads.behind = True
        assert (await client.get(f"/v1/jobs/{job}")).json() == current
        w.reads.broken = True
        assert (await client.get(f"/v1/jobs/{job}?min_sequence=1")).json() == current


async def test_a_sequence_that_is_not_there_yet_is_told() -> None:
    async with world() as w, w.client() as client:
        job = await submitted(w)
        answer = await client.get(f"/v1/jobs/{job}?min_sequence=2")
        assert (answer.status_code, answer.json()["code"]) == (503, "read_model_behind")
        answer = await client.get("/v1/jobs?min_sequence=2")
        assert (answer.status_code, answer.json()["code"]) == (503, "read_model_behind")


async def test_lists_are_told_when_there_is_no_read_model() -> None:
    async with world() as w, w.client() as client:
        w.reads.broken = True
        for path in ("/v1/jobs", "/v1/workers", "/v1/workflows", "/v1/stats"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "read_model_unavailable")
            assert answer.headers["retry-after"] == "1"


async def test_a_list_is_filtered_and_paged() -> None:
    async with world() as w, w.client() as client:
        jobs = [await submitted(w, skill="s", tags={"n": str(n % 2)}) for n in range(5)]
        page = (await client.get("/v1/jobs?limit=2")).json()
        assert [item["job_id"] for item in page["items"]] == [jobs[4], jobs[3]]
        assert "input" not in page["items"][0]
        page = (await client.get("/v1/jobs", params={"limit": 2, "cursor": page["next"]})).json()
        assert [item["job_id"] for item in page["items"]] == [jobs[2], jobs[1]]
        odd = (await client.get("/v1/jobs?tag=n=1&status=queued&status=failed")).json()
        assert [item["job_id"] for item in odd["items"]] == [jobs[3], jobs[1]]
        assert odd["next"] is None


async def test_the_history_has_gapless_versions() -> None:
    async with world() as w, w.client() as client:
        job = await submitted(w)
        await w.succeed(job, {"ok": 1})
        history = (await client.get(f"/v1/jobs/{job}/history")).json()
        assert [event["version"] for event in history] == list(range(1, len(history) + 1))
        assert history[0]["type"] == "JobAccepted"
        assert history[-1]["type"] == "JobSucceeded"
        assert history[-1]["data"] == {"output": {"ok": 1}}
        assert history[-1]["by"] == "worker:w1"
        assert history[-1]["sequence"] == len(w.journal.commits)
        assert history[0]["at"].endswith("Z")


async def test_another_tenants_job_is_as_unknown_as_none() -> None:
    async with world() as w, w.client("token-b") as client:
        job = await submitted(w)
        for tail in ("", "/history", "/events"):
            foreign = await client.get(f"/v1/jobs/{job}{tail}")
            unknown = await client.get(f"/v1/jobs/{NOBODY}{tail}")
            assert foreign.status_code == unknown.status_code == 404
            assert foreign.text.replace(job, "") == unknown.text.replace(NOBODY, "")
        for tail in ("cancel", "pause", "resume", "retry", "signals/x"):
            assert (await client.post(f"/v1/jobs/{job}/{tail}")).status_code == 404
        assert (await client.post(f"/v1/jobs/{job}/approve", json={"decision": "yes"})).status_code == 404
        assert (await client.get("/v1/jobs")).json()["items"] == []
        assert (await client.get("/v1/stats")).json()["total"] == 0
        assert w.dispatcher.asked == []


async def test_a_cancel_is_decided_by_the_dispatcher_and_repeats_safely() -> None:
    async with world() as w, w.client() as client:
        job = await submitted(w)
        answer = await client.post(f"/v1/jobs/{job}/cancel", json={"reason": "enough"})
        assert answer.status_code == 200
        assert answer.json() == {"job_id": job, "sequence": 2, "status": "cancelled", "changed": True}
        assert w.dispatcher.asked == [{"command": "cancel", "by": "client:alice", "reason": "enough"}]
        again = await client.post(f"/v1/jobs/{job}/cancel")
        assert again.json() == {"job_id": job, "sequence": 2, "status": "cancelled", "changed": False}


async def test_a_command_that_the_state_refuses_is_a_conflict() -> None:
    async with world() as w, w.client() as client:
        job = await submitted(w)
        await w.succeed(job)
        answer = await client.post(f"/v1/jobs/{job}/cancel")
        assert (answer.status_code, answer.json()["code"]) == (409, "illegal_transition")


async def test_a_silent_dispatcher_is_told() -> None:
    async with world() as w, w.client() as client:
        job = await submitted(w)
        w.dispatcher.silent = True
        answer = await client.post(f"/v1/jobs/{job}/cancel")
        assert (answer.status_code, answer.json()["code"]) == (503, "dispatcher_unavailable")
        assert answer.headers["retry-after"] == "1"


async def test_pausing_and_resuming_change_the_status() -> None:
    async with world() as w, w.client() as client:
        job = await submitted(w)
        assert (await client.post(f"/v1/jobs/{job}/pause")).json()["status"] == "paused"
        assert (await client.post(f"/v1/jobs/{job}/resume", json={})).json()["status"] == "queued"


async def test_approvals_and_signals_reach_the_dispatcher_as_they_were_said() -> None:
    async with world() as w, w.client() as client:
        assert (await client.put("/v1/workflows/ask", json={"graph": WAITING})).status_code == 201
        job = await submitted(w, workflow="ask")
        await client.post(f"/v1/jobs/{job}/signals/go%20on", json={"payload": [1]})
        await client.post(f"/v1/jobs/{job}/approve", json={"decision": "yes"})
        by = "client:alice"
        assert w.dispatcher.asked == [
            {"command": "signal", "by": by, "name": "go on", "payload": [1]},
            {"command": "approve", "by": by, "decision": "yes", "name": None},
        ]


async def test_an_ended_job_runs_again_as_a_new_one() -> None:
    async with world() as w, w.client() as client:
        job = await submitted(w, skill="resize", input={"n": 1}, tags={"a": "b"}, deadline_seconds=60)
        assert (await client.post(f"/v1/jobs/{job}/retry")).status_code == 409
        await w.succeed(job)
        answer = await client.post(f"/v1/jobs/{job}/retry")
        assert answer.status_code == 202
        again = (await client.get(answer.headers["location"])).json()
        assert again["job_id"] != job
        assert (again["retry_of"], again["input"], again["tags"]) == (job, {"n": 1}, {"a": "b"})
        assert again["trigger"] == "retry"
        assert again["deadline"] > again["created_at"]


async def test_a_job_that_was_seen_to_end_runs_again_before_the_read_model_knows() -> None:
    async with world() as w, w.client() as client:
        job = await submitted(w)
        w.reads.old[UUID(job)] = await w.reads.job(UUID(job))
        await w.succeed(job)
        assert (await client.get(f"/v1/jobs/{job}")).json()["status"] != "succeeded"
        assert (await client.post(f"/v1/jobs/{job}/retry")).status_code == 202


async def test_a_retry_with_a_key_happens_once() -> None:
    async with world() as w, w.client() as client:
        job = await submitted(w)
        await w.succeed(job)
        headers = {"Idempotency-Key": "again"}
        answers = [await client.post(f"/v1/jobs/{job}/retry", headers=headers) for _ in range(2)]
        assert answers[0].json() == answers[1].json()


def frames(text: str) -> list[tuple[str | None, dict[str, Any]]]:
    """The (id, data) of each event in an event stream."""
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if fields:
            found.append((fields.get("id"), orjson.loads(fields["data"])))
    return found


async def test_the_events_of_an_ended_job_are_its_history() -> None:
    async with world() as w, w.client() as client:
        job = await submitted(w)
        await w.succeed(job)
        answer = await client.get(f"/v1/jobs/{job}/events")
        assert answer.headers["content-type"].startswith("text/event-stream")
        history = (await client.get(f"/v1/jobs/{job}/history")).json()
        assert [data for _, data in frames(answer.text)] == history
        assert frames(answer.text)[-1][0] == str(len(w.journal.commits))
        assert w.follower.watching == 0


async def test_events_come_as_they_happen_and_end_with_the_job() -> None:
    async with world() as w:
        job = await submitted(w)
        text = ""
        async for chunk in w.stream(f"/v1/jobs/{job}/events"):
            text += chunk
            if chunk == ": alive\n\n" and "JobSucceeded" not in text:
                await w.succeed(job)
        assert text.startswith("event: JobAccepted\n")
        assert frames(text)[-1][1]["type"] == "JobSucceeded"


async def test_events_go_on_behind_the_last_one_seen() -> None:
    async with world() as w, w.client() as client:
        job = await submitted(w)
        await w.succeed(job)
        answer = await client.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": "1"})
        assert {data["sequence"] for _, data in frames(answer.text)} == {2, 3}
        answer = await client.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": "nonsense"})
        assert answer.status_code == 400


@pytest.mark.parametrize("graph", [WAITING, {"nodes": {"n": {"kind": "task", "skill": "s"}}, "edges": []}])
async def test_the_same_graph_again_is_the_same_version(graph: dict[str, Any]) -> None:
    async with world() as w, w.client() as client:
        first = await client.put("/v1/workflows/w", json={"graph": graph})
        again = await client.put("/v1/workflows/w", json={"graph": graph})
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json() == again.json()
        assert first.json()["version"] == 1
        shown = (await client.get("/v1/workflows/w")).json()
        assert shown["graph"] == graph
        assert shown["definition"] == first.json()["definition"]
        listed = (await client.get("/v1/workflows")).json()["items"]
        assert [(item["name"], item["version"]) for item in listed] == [("w", 1)]


async def test_a_graph_that_cannot_work_is_refused_node_by_node() -> None:
    nodes: dict[str, dict[str, Any]] = {
        "a": {"kind": "task"},
        "b": {"kind": "inline", "set": {"x": {"cel": "1 +"}}},
    }
    async with world() as w, w.client() as client:
        answer = await client.put("/v1/workflows/w", json={"graph": {"nodes": nodes, "edges": []}})
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (422, "invalid_workflow")
        assert "a" in {error.get("node") for error in problem["errors"]}
        nodes["a"]["skill"] = "s"
        graph = {"nodes": nodes, "edges": [{"from": "a", "to": "b"}]}
        answer = await client.put("/v1/workflows/w", json={"graph": graph})
        assert [error["node"] for error in answer.json()["errors"]] == ["b"]


@pytest.mark.parametrize("name", ["a%0d%0ab", "%20", "x" * 300, "%00"])
async def test_a_workflow_has_a_plain_name(name: str) -> None:
    async with world() as w, w.client() as client:
        answer = await client.put(f"/v1/workflows/{name}", json={"graph": WAITING})
        assert answer.status_code == 422
