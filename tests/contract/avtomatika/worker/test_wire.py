"""Paths, fields and words of the workers' endpoints, as a worker without any SDK sees them."""

import asyncio
import time
from urllib.parse import quote

import pytest

from tests.contract.avtomatika.worker.conftest import LEASE_SECONDS
from tests.contract.avtomatika.worker.world import World
from tests.support.system import WORKER_TOKEN

pytestmark = pytest.mark.connected


async def test_a_worker_registers_shows_that_it_lives_and_is_told_when_it_is_not_known(world: World) -> None:
    worker = world.worker()
    unknown = await worker.beat({"status": "idle"})
    assert (unknown.status_code, unknown.json()) == (404, {"error": "Worker not found"})
    assert (await worker.beat()).status_code == 404

    registered = await worker.register(world.named("video_processing"), world.named("audio_transcription"))
    assert registered.status_code == 200
    assert registered.json()["status"] == "registered"
    assert registered.headers["content-type"].startswith("application/json")
    assert registered.headers["x-rxon-version"]
    assert (await worker.beat()).json() == {"status": "ttl_refreshed"}
    assert (await worker.beat({})).json() == {"status": "ttl_refreshed"}
    assert (await worker.beat({"status": "idle", "current_tasks": None})).json() == {"status": "ok"}


async def test_what_is_wrong_with_a_registration_is_said(world: World) -> None:
    worker = world.worker()
    bad = await world.http.post(
        "/_worker/workers/register", headers=worker.headers, content=b"{", params={"x": "y"}
    )
    assert bad.status_code == 400
    nameless = await worker.post("/_worker/workers/register", {"supported_skills": []})
    assert (nameless.status_code, nameless.json()) == (
        400,
        {"error": "Missing or invalid worker_id in registration data"},
    )
    spaced = await world.stranger("a b").register("x")
    assert spaced.status_code == 400
    assert "Invalid worker_id: 'a b'" in spaced.json()["error"]
    typed = await worker.post(
        "/_worker/workers/register", {"worker_id": worker.name, "supported_skills": [3]}
    )
    assert typed.status_code == 400
    assert (await worker.register()).json()["status"] == "registered"  # without a skill yet


async def test_a_poll_is_answered_at_once_when_work_comes_and_with_nothing_at_its_time(world: World) -> None:
    worker = world.worker()
    await worker.register(world.named("echo"))
    begun = time.monotonic()
    empty = await worker.poll(0.6)
    assert (empty.status_code, empty.content) == (204, b"")
    assert time.monotonic() - begun >= 0.5

    waiting = asyncio.ensure_future(worker.task(30))
    while not [shown for shown in await _shown(world, worker.name) if shown]:
        await asyncio.sleep(0.05)
    submitted = time.monotonic()
    job = await world.submit(world.named("echo"), {"a": 1}, urgency=600)
    task = await waiting
    assert time.monotonic() - submitted < 15.0, "not when the poll is over"
    assert task["job_id"] == job
    assert (task["type"], task["params"], task["priority"]) == (world.named("echo"), {"a": 1}, 2)
    assert task["task_id"].startswith("task-")
    for name in ("timestamp", "step", "priority"):
        assert type(task[name]) is int, name
    assert isinstance(task["tracing_context"], dict)
    assert None not in task.values()

    assert await worker.result(task, status="success", data={"output": 1}, error=None) == {
        "status": "accepted",
        "transition": "success_transition",
    }
    assert (await world.ended(job))["output"] == {"output": 1}


async def _shown(world: World, name: str) -> list[object]:
    workers = (await world.client.get("/v1/workers")).json()
    return [worker for worker in workers["items"] if worker["name"] == name]


async def test_a_deadline_is_a_whole_number_of_seconds(world: World) -> None:
    worker = world.worker()
    await worker.register(world.named("echo"))
    await world.submit(world.named("echo"), run_timeout_seconds=2.5)
    task = await worker.task()
    assert type(task["deadline"]) is int
    assert 1 <= task["deadline"] - task["timestamp"] <= 3
    assert task["params"] == {}


async def test_the_worker_holds_the_task_before_it_gets_it(world: World) -> None:
    worker = world.worker()
    await worker.register(world.named("echo"))
    job = await world.submit(world.named("echo"))
    await worker.task()
    (claimed,) = await world.events(job, "TaskClaimed")
    assert (claimed["worker"], claimed["attempt"]) == (worker.name, 1)


async def test_a_result_that_is_not_wanted_is_ignored_with_200_and_the_reason(world: World) -> None:
    worker, other = world.worker(), world.worker("w2")
    await worker.register(world.named("echo"))
    await other.register(world.named("other"))
    job = await world.submit(world.named("echo"))
    task = await worker.task()

    foreign = await other.result(task, data={})
    assert (foreign["status"], foreign["reason"]) == ("ignored", "worker_mismatch")
    posing = await worker.result(task, worker_id=other.name, data={})
    assert posing["reason"] == "worker_mismatch"
    strange = await worker.result({"job_id": job, "task_id": "task-of-somebody"}, data={})
    assert strange["reason"] == "stale"
    assert job in strange["message"]
    nowhere = await worker.result({"job_id": "nope", "task_id": "t"}, data={})
    assert nowhere["reason"] == "job_not_found"
    gone = "00000000-0000-7000-8000-000000000001"
    never = await worker.result({"job_id": gone, "task_id": f"task-{gone.replace('-', '')}-1-1"}, data={})
    assert never["reason"] == "job_not_found"
    assert (await world.job(job))["status"] not in ("succeeded", "failed")

    assert (await worker.result(task, data={"n": 1}))["status"] == "accepted"
    assert (await worker.result(task, data={"n": 1}))["status"] == "accepted"  # said again
    assert (await worker.result(task, data={"n": 2}))["reason"] == "stale"
    assert (await world.ended(job))["output"] == {"n": 1}


async def test_a_result_after_the_deadline_is_late(world: World) -> None:
    worker = world.worker()
    await worker.register(world.named("echo"))
    job = await world.submit(world.named("echo"), run_timeout_seconds=0.3, retry={"max_attempts": 1})
    task = await worker.task()
    await world.ended(job)
    assert (await worker.result(task, data={}))["reason"] == "late"


async def test_a_result_of_a_cancelled_job_is_told_so_and_so_is_the_next_heartbeat(world: World) -> None:
    worker = world.worker()
    await worker.register(world.named("echo"))
    job = await world.submit(world.named("echo"))
    task = await worker.task()
    held = {"status": "busy", "current_tasks": [task["task_id"]]}
    assert (await worker.beat(held)).json() == {"status": "ok"}
    await world.cancel(job)
    while "cancel_task_ids" not in (told := (await worker.beat(held)).json()):
        await asyncio.sleep(0.05)
    assert told["cancel_task_ids"] == [task["task_id"]]
    assert (await worker.result(task, status="cancelled"))["reason"] == "cancelled"
    assert (await world.ended(job))["status"] == "cancelled"


async def test_a_worker_of_two_systems_is_not_told_to_stop_the_tasks_of_the_other(world: World) -> None:
    worker = world.worker()
    await worker.register(world.named("echo"))
    job = await world.submit(world.named("echo"))
    ours = (await worker.task())["task_id"]
    theirs = "task-01a1ff277f8f7911a9d85f2b93f25f53-1-1"
    held = {"status": "busy", "current_tasks": [theirs, ours]}
    await worker.beat(held)
    await world.cancel(job)
    while "cancel_task_ids" not in (told := (await worker.beat(held)).json()):
        await asyncio.sleep(0.05)
    assert told["cancel_task_ids"] == [ours]
    assert (await worker.beat(held)).json()["cancel_task_ids"] == [ours]


async def test_heartbeats_that_list_a_task_keep_it_and_silence_gives_it_to_another(world: World) -> None:
    first, second = world.worker(), world.worker("w2")
    await first.register(world.named("echo"))
    await second.register(world.named("echo"))
    job = await world.submit(world.named("echo"), retry={"max_attempts": 2, "base_seconds": 0})
    task = await first.task()
    waiting = asyncio.ensure_future(second.poll(30))
    for _ in range(int(4 * LEASE_SECONDS)):  # twice as long as the lease
        await first.beat({"status": "busy", "current_tasks": [task["task_id"]]})
        await asyncio.sleep(0.5)
    assert not waiting.done()
    assert await world.events(job, "LeaseRenewed")

    again = (await waiting).json()  # the first one says no more
    assert again["job_id"] == job
    assert again["task_id"] != task["task_id"]
    assert (await first.result(task, data={"late": True}))["reason"] in ("late", "stale")
    assert (await second.result(again, data={"by": 2}))["status"] == "accepted"
    assert (await world.ended(job))["output"] == {"by": 2}


async def test_pings_alone_keep_a_task_too(world: World) -> None:
    worker = world.worker()
    await worker.register(world.named("echo"))
    job = await world.submit(world.named("echo"))
    task = await worker.task()
    for _ in range(int(4 * LEASE_SECONDS)):
        await worker.beat()
        await asyncio.sleep(0.5)
    assert await world.events(job, "TaskTimedOut") == []
    assert (await worker.result(task, data={"kept": True}))["status"] == "accepted"


async def test_a_worker_that_never_shows_itself_keeps_its_task(world: World) -> None:
    worker = world.worker()
    await worker.register(world.named("echo"))
    job = await world.submit(world.named("echo"))
    task = await worker.task()
    # Nothing is to happen, so there is no signal to wait for.
    await asyncio.sleep(2 * LEASE_SECONDS + 0.5)
    assert await world.events(job, "TaskTimedOut") == []
    assert (await worker.result(task, data={}))["status"] == "accepted"


async def test_a_task_that_nobody_polls_for_goes_back_soon(world: World) -> None:
    """The gateway had asked for work for a poll that is over; another worker's poll gets it soon."""
    gone, stays = world.worker("gone"), world.worker("stays")
    await gone.register(world.named("echo"), world.named("other"))
    await stays.register(world.named("echo"))
    assert (await gone.poll(0.3)).status_code == 204
    job = await world.submit(world.named("echo"))
    begun = time.monotonic()
    task = await stays.task(30)
    assert task["job_id"] == job
    assert time.monotonic() - begun < 12.0, "not when the queue delivers it again"


async def test_a_worker_that_comes_after_the_job_gets_it(world: World) -> None:
    job = await world.submit(world.named("later"))
    worker = world.worker()
    await worker.register(world.named("later"))
    task = await worker.task()
    assert task["job_id"] == job


async def test_a_poll_takes_only_the_skills_that_it_names(world: World) -> None:
    worker = world.worker()
    await worker.register(world.named("echo"), world.named("heavy"))
    await world.submit(world.named("heavy"))
    assert (await worker.poll(0.5, available_skills=world.named("echo"))).status_code == 204
    assert (await worker.task())["type"] == world.named("heavy")


async def test_failures_have_the_kinds_of_their_codes(world: World) -> None:
    worker = world.worker()
    await worker.register(world.named("echo"))
    kinds = {
        "PERMANENT_ERROR": "permanent",
        "SECURITY_ERROR": "permanent",
        "DEPENDENCY_ERROR": "permanent",
        "CONTRACT_VIOLATION_ERROR": "contract_violation",
        "INVALID_INPUT_ERROR": "invalid_input",
        "INTEGRITY_MISMATCH_ERROR": "invalid_input",
        "TIMEOUT_ERROR": "timeout",
        "RESOURCE_EXHAUSTED_ERROR": "transient",
        "SOMETHING_ELSE": "transient",
    }
    for code, kind in kinds.items():
        job = await world.submit(world.named("echo"), retry={"max_attempts": 1})
        answer = await worker.result(
            await worker.task(), status="failure", error={"code": code, "message": "so it is"}
        )
        assert answer == {"status": "accepted", "transition": "failure_handled"}
        error = (await world.ended(job))["error"]
        assert (error["kind"], error["code"], error["message"]) == (kind, code, "so it is")


async def test_progress_and_events_reach_the_job_from_its_worker_only(world: World) -> None:
    worker, other = world.worker(), world.worker("w2")
    await worker.register(world.named("echo"))
    await other.register(world.named("x"))
    job = await world.submit(world.named("echo"))
    task = await worker.task()
    told = await worker.event("progress", task, {"progress": 0.5, "message": "half"})
    assert (told.status_code, told.json()) == (200, {"status": "event_accepted"})
    (progress,) = await world.happened(job, "TaskProgressed")
    assert (progress["progress"], progress["message"]) == (0.5, "half")

    assert (await worker.event("checkpoint", task, {"mark": 7})).json() == {"status": "event_accepted"}
    (emitted,) = await world.happened(job, "EventEmitted")
    assert (emitted["name"], emitted["payload"]) == ("checkpoint", {"mark": 7})

    assert (await other.event("progress", task, {"progress": 0.9})).status_code == 403
    nonsense = await worker.event("progress", task, {"progress": "much"})
    assert (nonsense.status_code, nonsense.json()["status"]) == (200, "error")
    broken = await worker.post("/_worker/events", {"payload": 1})
    assert (broken.status_code, broken.json()["status"]) == (200, "error")


async def test_a_catalog_that_changed_is_asked_for_and_learnt(world: World) -> None:
    worker = world.worker()
    await worker.register(world.named("echo"), skills_hash="one")
    beat = {"status": "idle", "current_tasks": [], "skills_hash": "two"}
    assert (await worker.beat(beat)).json() == {"status": "ok", "require_full_sync": True}
    assert (await worker.beat({**beat, "supported_skills": [{"name": world.named("sing")}]})).json() == {
        "status": "ok"
    }
    job = await world.submit(world.named("sing"))
    assert (await worker.task())["job_id"] == job


async def test_a_task_says_its_deadline_and_what_the_client_said_of_the_job(world: World) -> None:
    worker, skill = world.worker(), world.named("echo")
    await worker.register(skill)
    job = await world.submit(skill, metadata={"m": 1}, deadline_seconds=90)
    first = await worker.task()
    assert (first["job_id"], first["metadata"]) == (job, {"m": 1})
    assert type(first["deadline"]) is int
    assert 80 <= first["deadline"] - first["timestamp"] <= 90
    await world.submit(skill, deadline_seconds=90, run_timeout_seconds=20)
    second = await worker.task()
    assert "metadata" not in second
    assert 15 <= second["deadline"] - second["timestamp"] <= 20  # the sooner of the two


async def test_clients_see_a_worker_as_its_last_heartbeat_said_it_is(world: World) -> None:
    worker, skill = world.worker(), world.named("echo")
    await worker.register(skill, available_skills=[skill], hot_skills=[], timestamp=1)
    beat = {"status": "busy", "usage": {"cpu_load_percent": 99}, "timestamp": 2}
    await worker.beat({**beat, "available_skills": [], "hot_skills": [skill]})
    await worker.beat({"status": "busy"})  # what it does not say stays
    listed = (await world.client.get("/api/v1/workers")).json()
    (shown,) = [each for each in listed if each["worker_id"] == worker.name]
    told = {**beat, "available_skills": [], "hot_skills": [skill], "supported_skills": [skill]}
    assert {name: shown[name] for name in told} == told


async def test_a_worker_that_goes_offline_gets_no_more(world: World) -> None:
    worker = world.worker()
    await worker.register(world.named("echo"))
    assert (await worker.beat({"status": "offline", "supported_skills": []})).json() == {"status": "ok"}
    while [shown for shown in await _shown(world, worker.name) if _status(shown) != "left"]:
        await asyncio.sleep(0.05)
    assert (await worker.beat({"status": "idle"})).json() == {"status": "ok"}  # the SDK says so once more
    assert [_status(shown) for shown in await _shown(world, worker.name)] in ([], ["left"])


def _status(shown: object) -> object:
    assert isinstance(shown, dict)
    return shown["status"]


@pytest.mark.parametrize("name", ["a b", "x" * 201, "é", "a.>"])
async def test_nobody_polls_under_a_name_that_cannot_be_registered(world: World, name: str) -> None:
    answer = await world.http.get(
        f"/_worker/workers/{quote(name)}/tasks/next",
        headers={"X-Worker-Token": WORKER_TOKEN},
        params={"timeout": "0", "available_skills": world.named("echo")},
    )
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"Invalid worker_id: '{name[:200]}'")
    listed = (await world.client.get("/api/v1/workers")).json()
    assert name not in [worker["worker_id"] for worker in listed]


async def test_unknown_paths_and_methods_are_answered_in_the_dialects_form(world: World) -> None:
    headers = world.worker().headers
    nothing = await world.http.get("/_worker/nothing", headers=headers)
    assert (nothing.status_code, set(nothing.json())) == (404, {"error"})
    wrong = await world.http.get("/_worker/workers/register", headers=headers)
    assert (wrong.status_code, set(wrong.json())) == (405, {"error"})
