"""Jobs of every shape through all processes, on the real broker, as a client sees them."""

import asyncio
from datetime import datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest

pytestmark = pytest.mark.connected

Job = dict[str, Any]


async def submit(client: httpx.AsyncClient, wait: int = 60, **order: Any) -> Job:
    """Submit a job; with `wait` the ended job, else the acceptance."""
    headers = {"Prefer": f"wait={wait}"} if wait else {}
    answer = await client.post("/v1/jobs", json=order, headers=headers)
    assert answer.status_code == (200 if wait else 202), answer.text
    job: Job = answer.json()
    return job


async def publish(client: httpx.AsyncClient, nodes: dict[str, Any], *edges: str) -> str:
    """Publish a graph under a new name; an edge is "from to" or "from:port to"."""
    name = f"w-{uuid4().hex}"
    listed = []
    for edge in edges:
        source, target = edge.split()
        source, _, port = source.partition(":")
        listed.append({"from": source, "port": port or None, "to": target})
    answer = await client.put(f"/v1/workflows/{name}", json={"graph": {"nodes": nodes, "edges": listed}})
    assert answer.status_code == 201, answer.text
    return name


async def topics(client: httpx.AsyncClient, job: Job) -> list[str]:
    """The types of the job's events; their versions must have no gap."""
    events = (await client.get(f"/v1/jobs/{job['job_id']}/history")).json()
    assert [event["version"] for event in events] == list(range(1, len(events) + 1))
    return [event["type"] for event in events]


async def until_status(client: httpx.AsyncClient, job: Job, *statuses: str) -> Job:
    """Wait until the job has one of the statuses."""
    async with asyncio.timeout(60):
        while True:
            seen: Job = (await client.get(f"/v1/jobs/{job['job_id']}")).json()
            if seen["status"] in statuses:
                return seen
            await asyncio.sleep(0.02)


TASK = {"kind": "task", "skill": "add"}


async def test_a_one_step_job_takes_four_events(client: httpx.AsyncClient) -> None:
    taken: list[str] = []
    while len(taken) != 4:  # on a machine that stood still it is queued, or claimed, first
        job = await submit(client, skill="echo", input={"a": 1})
        assert job["output"] == {"echo": {"a": 1}}
        taken = await topics(client, job)
    assert taken == ["JobAccepted", "TaskReleased", "TaskSucceeded", "JobSucceeded"]


async def test_steps_in_sequence_hand_their_outputs_on(client: httpx.AsyncClient) -> None:
    name = await publish(client, {"a": TASK, "b": TASK, "c": TASK}, "a b", "b c")
    job = await submit(client, workflow=name, input={"n": 1})
    assert job["output"] == {"n": 4}


async def test_a_fork_of_ten_joins_once(client: httpx.AsyncClient) -> None:
    leaves = {f"t{n}": {**TASK, "input": {"n": n}} for n in range(10)}
    edges = [edge for leaf in leaves for edge in (f"f {leaf}", f"{leaf} j")]
    name = await publish(
        client, {"f": {"kind": "fork"}, "j": {"kind": "join", "merge": "list"}, **leaves}, *edges
    )
    job = await submit(client, workflow=name)
    assert job["output"] == [{"n": n + 1} for n in range(10)]
    assert (await topics(client, job)).count("JoinPassed") == 1


async def test_a_loop_runs_its_body_for_each_item(client: httpx.AsyncClient) -> None:
    nodes = {
        "l": {"kind": "loop", "over": {"cel": "input.items"}, "width": 2},
        "t": {**TASK, "input": {"n": {"cel": "item"}}},
    }
    name = await publish(client, nodes, "l:body t", "t l")
    job = await submit(client, workflow=name, input={"items": [1, 2, 3]})
    assert job["output"] == [{"n": 2}, {"n": 3}, {"n": 4}]


async def test_a_transient_failure_is_tried_again_after_its_backoff(client: httpx.AsyncClient) -> None:
    order = {"key": uuid4().hex, "failures": 2}
    job = await submit(client, skill="flaky", input=order, retry={"base_seconds": 0.1})
    assert job["output"] == {"tries": 3}
    assert (await topics(client, job)).count("TaskRetryScheduled") == 2


async def test_a_permanent_failure_is_not_tried_again(client: httpx.AsyncClient) -> None:
    job = await submit(client, skill="refuse")
    assert (job["status"], job["error"]["code"]) == ("failed", "refused")
    assert job["attempts"] == 1


async def test_cancelling_a_running_job_ends_it_and_frees_its_worker(client: httpx.AsyncClient) -> None:
    job = await submit(client, wait=0, skill="sleep", input={"seconds": 300})
    await until_status(client, job, "running", "assigned")
    answer = await client.post(f"/v1/jobs/{job['job_id']}/cancel", json={"reason": "changed my mind"})
    assert answer.json()["status"] == "cancelled"
    again = await client.post(f"/v1/jobs/{job['job_id']}/cancel")
    assert again.json()["changed"] is False
    assert (await topics(client, job))[-2:] == ["TaskCancelled", "JobCancelled"]


async def test_a_task_that_no_worker_takes_times_out(client: httpx.AsyncClient) -> None:
    job = await submit(client, skill=f"nobody-{uuid4().hex}", dispatch_timeout_seconds=0.5)
    assert (job["status"], job["error"]["code"]) == ("timed_out", "waiting_timeout")


async def test_a_task_that_runs_too_long_times_out(client: httpx.AsyncClient) -> None:
    job = await submit(
        client, skill="sleep", input={"seconds": 300}, run_timeout_seconds=1, retry={"max_attempts": 1}
    )
    assert job["status"] == "timed_out"


async def test_the_deadline_of_a_job_ends_it_within_two_seconds(client: httpx.AsyncClient) -> None:
    late: list[float] = []
    while len(late) < 5 and min(late, default=9.0) > 2:  # a machine that stood still is late once
        job = await submit(client, skill="sleep", input={"seconds": 300}, deadline_seconds=1)
        assert job["error"]["code"] == "deadline"
        history = (await client.get(f"/v1/jobs/{job['job_id']}/history")).json()
        accepted, ended = (datetime.fromisoformat(history[index]["at"]) for index in (0, -1))
        late.append((ended - accepted).total_seconds() - 1)
    assert min(late) <= 2


async def test_an_approval_sends_the_job_the_way_that_was_chosen(client: httpx.AsyncClient) -> None:
    nodes = {
        "ask": {"kind": "wait", "for": "approval", "name": "ok", "decisions": ["approved", "rejected"]},
        "go": {"kind": "task", "skill": "echo"},
        "no": {"kind": "end", "outcome": "failed"},
    }
    name = await publish(client, nodes, "ask:approved go", "ask:rejected no")
    yes, no = [await submit(client, wait=0, workflow=name, input={}) for _ in range(2)]
    for job, decision, status in ((yes, "approved", "succeeded"), (no, "rejected", "failed")):
        wrong = await client.post(f"/v1/jobs/{job['job_id']}/approve", json={"decision": "perhaps"})
        assert wrong.status_code == 422
        await client.post(f"/v1/jobs/{job['job_id']}/approve", json={"decision": decision})
        assert (await until_status(client, job, "succeeded", "failed"))["status"] == status


async def test_a_signal_that_comes_early_is_not_lost(client: httpx.AsyncClient) -> None:
    nodes = {
        "first": {"kind": "task", "skill": "sleep"},
        "s": {"kind": "wait", "for": "signal", "name": "paid"},
    }
    name = await publish(client, nodes, "first s")
    job = await submit(client, wait=0, workflow=name, input={"seconds": 0.3})
    answer = await client.post(f"/v1/jobs/{job['job_id']}/signals/paid", json={"payload": {"amount": 7}})
    assert answer.status_code == 200, answer.text
    assert (await until_status(client, job, "succeeded"))["output"] == {"amount": 7}


async def test_a_delay_lasts_as_long_as_it_says(client: httpx.AsyncClient) -> None:
    nodes = {"d": {"kind": "wait", "for": "timer", "seconds": 1}, "t": TASK}
    name = await publish(client, nodes, "d t")
    begun = asyncio.get_running_loop().time()
    await submit(client, workflow=name, input={"n": 1})
    assert asyncio.get_running_loop().time() - begun >= 1.0


async def test_a_child_wakes_its_parent_whether_it_succeeds_or_fails(client: httpx.AsyncClient) -> None:
    good = await publish(client, {"t": TASK})
    bad = await publish(client, {"t": {"kind": "task", "skill": "refuse"}})
    for child, expected in ((good, {"echo": {"n": 2}}), (bad, None)):
        nodes = {"c": {"kind": "subflow", "workflow": child}, "e": {"kind": "task", "skill": "echo"}}
        parent = await publish(client, nodes, "c e")
        job = await submit(client, workflow=parent, input={"n": 1})
        assert job["output"] == expected
        assert job["status"] == ("succeeded" if expected else "failed")


async def test_a_child_of_a_workflow_that_is_not_there_fails_the_parent_with_words(
    client: httpx.AsyncClient,
) -> None:
    parent = await publish(client, {"c": {"kind": "subflow", "workflow": "nonesuch"}})
    job = await submit(client, workflow=parent)
    assert job["status"] == "failed"
    assert "nonesuch" in job["error"]["message"]


async def test_cancelling_a_parent_cancels_its_child(client: httpx.AsyncClient) -> None:
    child = await publish(client, {"t": {"kind": "task", "skill": "sleep"}})
    parent = await publish(client, {"c": {"kind": "subflow", "workflow": child}})
    job = await submit(client, wait=0, workflow=parent, input={"seconds": 300})
    async with asyncio.timeout(60):
        while not (
            children := (await client.get("/v1/jobs", params={"parent": job["job_id"]})).json()["items"]
        ):
            await asyncio.sleep(0.02)
    await client.post(f"/v1/jobs/{job['job_id']}/cancel")
    assert (await until_status(client, children[0], "cancelled"))["status"] == "cancelled"


async def test_no_more_tasks_of_a_key_run_at_once_than_its_limit(client: httpx.AsyncClient) -> None:
    key = uuid4().hex
    jobs = [
        await submit(
            client, wait=0, skill="sleep", input={"seconds": 0.3}, concurrency={"key": key, "limit": 2}
        )
        for _ in range(6)
    ]
    ended = [await until_status(client, job, "succeeded") for job in jobs]
    spans = [(job["started_at"], job["ended_at"]) for job in ended]
    for started, _ in spans:
        assert sum(first <= started < last for first, last in spans) <= 2


async def test_a_rate_key_lets_so_many_start_in_its_window(client: httpx.AsyncClient) -> None:
    rate = {"key": uuid4().hex, "limit": 2, "per_seconds": 1}
    begun = asyncio.get_running_loop().time()
    jobs = [await submit(client, wait=0, skill="echo", rate=rate) for _ in range(4)]
    for job in jobs:
        await until_status(client, job, "succeeded")
    assert asyncio.get_running_loop().time() - begun >= 1.0


async def test_a_paused_job_starts_nothing_new_until_it_is_resumed(client: httpx.AsyncClient) -> None:
    nodes = {"a": {"kind": "task", "skill": "sleep"}, "b": {**TASK, "input": {"n": 1}}}
    name = await publish(client, nodes, "a b")
    job = await submit(client, wait=0, workflow=name, input={"seconds": 3})
    assert (await client.post(f"/v1/jobs/{job['job_id']}/pause")).json()["status"] == "paused"
    async with asyncio.timeout(60):
        while "TaskSucceeded" not in await topics(client, job):
            await asyncio.sleep(0.02)
    assert (await topics(client, job))[-1] != "TaskReleased"
    await client.post(f"/v1/jobs/{job['job_id']}/resume")
    assert (await until_status(client, job, "succeeded"))["output"] == {"n": 2}


async def test_the_handlers_of_a_blueprint_choose_the_way(client: httpx.AsyncClient) -> None:
    job = await submit(client, workflow="order", input={"n": 1})
    assert (job["status"], job["output"]) == ("succeeded", {"sum": 6})
    refused = await submit(client, workflow="order", input={"n": -1})
    assert refused["status"] == "failed"


async def test_a_handler_that_never_ends_is_stopped_at_its_time_limit(client: httpx.AsyncClient) -> None:
    job = await submit(client, workflow="spin", retry={"max_attempts": 1})
    assert job["error"]["code"] == "handler_timeout"
    order = await submit(client, workflow="order", input={"n": 1})
    assert order["status"] == "succeeded"


async def test_an_ended_job_can_be_run_again_as_a_new_one(client: httpx.AsyncClient) -> None:
    job = await submit(client, skill="refuse")
    answer = await client.post(f"/v1/jobs/{job['job_id']}/retry")
    assert answer.status_code == 202, answer.text
    again = await until_status(client, answer.json(), "failed")
    assert again["retry_of"] == job["job_id"]
