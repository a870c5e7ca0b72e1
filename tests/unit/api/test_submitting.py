import asyncio
from uuid import UUID

import pytest

from shared.application.ports import Decision, JournalUnavailable, UnknownOutcome
from tests.unit.api.world import World, world

TASK = {"kind": "task", "skill": "resize"}


async def test_a_job_is_accepted_and_can_be_read_at_once() -> None:
    async with world() as w, w.client() as client:
        answer = await client.post("/v1/jobs", json={"skill": "resize", "input": {"url": "u"}})
        assert answer.status_code == 202
        body = answer.json()
        assert body["sequence"] == 1
        assert body["status"] == "queued"
        assert answer.headers["location"] == f"/v1/jobs/{body['job_id']}"
        job = (await client.get(answer.headers["location"])).json()
        assert job["job_id"] == body["job_id"]
        assert job["input"] == {"url": "u"}
        assert job["skill"] == "resize"


async def test_every_option_reaches_the_job() -> None:
    options = {
        "urgency": 900,
        "tags": {"team": "blue"},
        "alias": "order-17",
        "deadline_seconds": 60,
        "dispatch_timeout_seconds": 5,
        "run_timeout_seconds": 7.5,
        "retry": {"max_attempts": 2, "base_seconds": 0.5},
        "concurrency": {"key": "db", "limit": 3},
        "rate": {"key": "mail", "limit": 5, "per_seconds": 1},
        "webhook_url": "https://example.org/hook?x=1",
        "metadata": {"note": [1, 2]},
    }
    async with world() as w, w.client() as client:
        answer = await client.post("/v1/jobs", json={"skill": "resize", **options})
        assert answer.status_code == 202, answer.text
        topic, accepted = w.journal.commits[0].events[0]
        assert topic == "JobAccepted"
        assert accepted["urgency"] == 900
        assert accepted["tags"] == {"team": "blue"}
        assert accepted["alias"] == "order-17"
        assert accepted["deadline"] == pytest.approx(w.journal.commits[0].at + 60_000_000, abs=1_000_000)
        assert accepted["dispatch_timeout"] == 5
        assert accepted["run_timeout"] == 7.5
        assert accepted["retry"] == {"max_attempts": 2, "base_seconds": 0.5}
        assert accepted["concurrency"] == {"key": "db", "limit": 3}
        assert accepted["rate"] == {"key": "mail", "limit": 5, "per_seconds": 1}
        assert accepted["webhook_url"] == "https://example.org/hook?x=1"
        assert accepted["metadata"] == {"note": [1, 2]}
        assert (accepted["tenant"], accepted["owner"]) == ("a", "alice")
        assert w.journal.commits[0].by == "client:alice"


async def test_a_trace_is_kept_when_it_is_one() -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with world() as w, w.client() as client:
        for sent in (trace, "00-0-0-01", "00-" + "0" * 32 + "-00f067aa0ba902b7-01"):
            answer = await client.post("/v1/jobs", json={"skill": "s"}, headers={"traceparent": sent})
            assert answer.status_code == 202
        traces = [commit.events[0][1].get("trace") for commit in w.journal.commits]
        assert traces == [trace, None, None]


async def test_with_an_open_lane_the_task_is_released_in_the_same_commit() -> None:
    async with world() as w, w.client() as client:
        w.open_lane("resize", 1)
        for _ in range(2):
            await client.post("/v1/jobs", json={"skill": "resize"})
        topics = [[topic for topic, _ in commit.events] for commit in w.journal.commits]
        assert topics == [["JobAccepted", "TaskReleased"], ["JobAccepted", "TaskQueued"]]
        assert w.journal.commits[0].skill == "resize"


async def test_a_workflow_runs_in_its_newest_version_or_the_one_named() -> None:
    async with world() as w, w.client() as client:
        for skill in ("one", "two"):
            graph = {"nodes": {"n": {"kind": "task", "skill": skill}}, "edges": []}
            assert (await client.put("/v1/workflows/flow", json={"graph": graph})).status_code == 201
        for order in ({"workflow": "flow"}, {"workflow": "flow", "version": 1}):
            answer = await client.post("/v1/jobs", json=order)
            assert answer.status_code == 202, answer.text
        newest, first = (c for c in w.journal.commits if c.kind == "job")
        assert newest.events[0][1]["version"] == 2
        assert newest.events[1][1]["skill"] == "two"
        assert first.events[0][1]["version"] == 1
        assert first.events[1][1]["skill"] == "one"
        assert newest.events[0][1]["definition"] != first.events[0][1]["definition"]


@pytest.mark.parametrize("order", [{"workflow": "nope"}, {"workflow": "flow", "version": 2}])
async def test_a_workflow_that_is_not_there_is_refused(order: dict[str, object]) -> None:
    async with world() as w, w.client() as client:
        await client.put("/v1/workflows/flow", json={"graph": {"nodes": {"n": TASK}, "edges": []}})
        answer = await client.post("/v1/jobs", json=order)
        assert (answer.status_code, answer.json()["code"]) == (422, "unknown_workflow")


async def test_another_tenants_workflow_is_not_there() -> None:
    async with world() as w, w.client() as client, w.client("token-b") as other:
        await client.put("/v1/workflows/flow", json={"graph": {"nodes": {"n": TASK}, "edges": []}})
        assert (await other.post("/v1/jobs", json={"workflow": "flow"})).status_code == 422
        assert (await other.get("/v1/workflows/flow")).status_code == 404
        assert (await other.get("/v1/workflows")).json()["items"] == []


async def test_the_same_key_and_body_make_one_job() -> None:
    async with world() as w, w.client() as client:
        answers = [
            await client.post("/v1/jobs", json={"skill": "s"}, headers={"Idempotency-Key": "k1"})
            for _ in "12"
        ]
        assert [answer.status_code for answer in answers] == [202, 202]
        assert answers[0].json() == answers[1].json()
        assert len(w.journal.commits) == 1


async def test_the_same_key_at_once_makes_one_job() -> None:
    async with world() as w, w.client() as client:
        headers = {"Idempotency-Key": "k1"}
        answers = await asyncio.gather(
            *(client.post("/v1/jobs", json={"skill": "s"}, headers=headers) for _ in range(20))
        )
        assert len({answer.json()["job_id"] for answer in answers}) == 1
        assert len(w.journal.commits) == 1


async def test_a_key_used_for_another_body_is_refused() -> None:
    async with world() as w, w.client() as client:
        headers = {"Idempotency-Key": "k1"}
        await client.post("/v1/jobs", json={"skill": "s"}, headers=headers)
        answer = await client.post("/v1/jobs", json={"skill": "t"}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_conflict")


async def test_the_same_body_written_differently_is_the_same() -> None:
    async with world() as w, w.client() as client:
        headers = {"Idempotency-Key": "k1", "Content-Type": "application/json"}
        bodies = ['{"skill":"s","input":{"a":1,"b":2}}', '{ "input": {"b":2, "a":1}, "skill":"s" }']
        answers = [await client.post("/v1/jobs", content=body, headers=headers) for body in bodies]
        assert answers[0].json() == answers[1].json()


async def test_two_tenants_do_not_share_keys() -> None:
    async with world() as w, w.client() as client, w.client("token-b") as other:
        headers = {"Idempotency-Key": "k1"}
        first = await client.post("/v1/jobs", json={"skill": "s"}, headers=headers)
        second = await other.post("/v1/jobs", json={"skill": "t"}, headers=headers)
        assert first.json()["job_id"] != second.json()["job_id"]
        assert second.status_code == 202


async def test_the_digest_of_a_keyed_request_is_not_shown_as_metadata() -> None:
    async with world() as w, w.client() as client:
        answer = await client.post("/v1/jobs", json={"skill": "s"}, headers={"Idempotency-Key": "k"})
        job = (await client.get(answer.headers["location"])).json()
        assert job["metadata"] == {}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/skill"),
        ({"skill": "s", "workflow": "w"}, "/skill"),
        ({"skill": "s", "version": 1}, "/version"),
        ({"skill": 3}, "/skill"),
        ({"skill": "a\r\nb"}, "/skill"),
        ({"skill": "$JS.API.>\n"}, "/skill"),
        ({"skill": ""}, "/skill"),
        ({"skill": "s" * 300}, "/skill"),
        ({"skill": "s", "input": [1]}, "/input"),
        ({"skill": "s", "urgency": 1001}, "/urgency"),
        ({"skill": "s", "urgency": 1.5}, "/urgency"),
        ({"skill": "s", "tags": {"a": 1}}, "/tags"),
        ({"skill": "s", "deadline_seconds": 0}, "/deadline_seconds"),
        ({"skill": "s", "webhook_url": "file:///etc/passwd"}, "/webhook_url"),
        ({"skill": "s", "webhook_url": "http://user:pw@host/"}, "/webhook_url"),
        ({"skill": "s", "webhook_url": "http://host:99999/"}, "/webhook_url"),
        ({"skill": "s", "webhook_url": "http://host/\r\nX: y"}, "/webhook_url"),
        ({"skill": "s", "metadata": {"daybook.request": "x"}}, "/metadata"),
        ({"skill": "s", "retry": {"max_attempts": 0}}, "/retry/max_attempts"),
        ({"skill": "s", "rate": {"key": "k", "limit": 1}}, "/rate"),
        ({"skill": "s", "surprise": 1}, ""),
    ],
)
async def test_what_makes_no_sense_is_refused_with_a_pointer(body: dict[str, object], pointer: str) -> None:
    async with world() as w, w.client() as client:
        answer = await client.post("/v1/jobs", json=body)
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (422, "invalid"), problem
        assert problem["errors"][0]["pointer"].startswith(pointer)
        assert w.journal.commits == []


async def test_waiting_answers_with_the_ended_job() -> None:
    async with world() as w, w.client() as client:
        working = asyncio.create_task(w.succeed_next({"ok": 1}))
        await asyncio.sleep(0)
        answer = await client.post("/v1/jobs", json={"skill": "resize"}, headers={"Prefer": "wait=5"})
        job = await working
        assert answer.status_code == 200
        assert answer.headers["preference-applied"] == "wait=5"
        body = answer.json()
        assert (body["job_id"], body["status"], body["output"]) == (str(job), "succeeded", {"ok": 1})
        assert body == (await client.get(f"/v1/jobs/{job}")).json()
        assert w.follower.watching == 0


async def test_waiting_in_vain_answers_202() -> None:
    async with world() as w, w.client() as client:
        answer = await client.post(
            "/v1/jobs", json={"skill": "s"}, headers={"Prefer": "respond-async, wait=1"}
        )
        assert answer.status_code == 202
        assert answer.json()["status"] == "queued"
        assert w.follower.watching == 0


async def test_waiting_with_a_known_key_sees_what_happened_before() -> None:
    async with world() as w, w.client() as client:
        headers = {"Idempotency-Key": "k"}
        first = await client.post("/v1/jobs", json={"skill": "resize"}, headers=headers)
        await w.succeed(first.json()["job_id"], 7)
        headers["Prefer"] = "wait=5"
        answer = await client.post("/v1/jobs", json={"skill": "resize"}, headers=headers)
        assert (answer.status_code, answer.json()["output"]) == (200, 7)


async def test_bulk_answers_each_item_alone_and_in_order() -> None:
    async with world() as w, w.client() as client:
        jobs = [{"skill": "s"}, {"skill": 3}, {"workflow": "nope"}, {"skill": "t"}]
        answer = await client.post("/v1/jobs/bulk", json={"jobs": jobs})
        assert answer.status_code == 200
        items = answer.json()["items"]
        assert [item.get("status") for item in items] == ["queued", None, None, "queued"]
        assert [item["error"]["code"] for item in items[1:3]] == ["invalid", "unknown_workflow"]
        assert len(w.journal.commits) == 2


async def test_an_item_of_a_bulk_that_is_not_stored_is_told_alone() -> None:
    async with world() as w, w.client() as client:
        w.open_lane("resize", 5)
        answering(w, None, JournalUnavailable("full"), stores=False)
        answer = await client.post("/v1/jobs/bulk", json={"jobs": [{"skill": "resize"}] * 3})
        items = answer.json()["items"]
        assert [item.get("status") for item in items] == ["queued", None, "queued"]
        assert items[1]["error"]["code"] == "journal_unavailable"
        assert w.lanes.room("resize") == 3


async def test_a_bulk_that_is_given_up_gives_its_lanes_back() -> None:
    async with world() as w, w.client() as client:
        w.open_lane("resize", 5)
        w.journal.submit = lambda decision: (asyncio.Future[int](), b"")  # type: ignore[method-assign]
        asking = asyncio.create_task(client.post("/v1/jobs/bulk", json={"jobs": [{"skill": "resize"}] * 3}))
        async with asyncio.timeout(30):
            while w.lanes.room("resize") > 2:
                await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait({asking})
        assert w.lanes.room("resize") == 5


async def test_a_bulk_with_a_key_is_made_once() -> None:
    async with world() as w, w.client() as client:
        body, headers = {"jobs": [{"skill": "s"}] * 3}, {"Idempotency-Key": "k"}
        first = await client.post("/v1/jobs/bulk", json=body, headers=headers)
        second = await client.post("/v1/jobs/bulk", json=body, headers=headers)
        assert first.json() == second.json()
        assert len({item["job_id"] for item in first.json()["items"]}) == 3
        assert len(w.journal.commits) == 3


@pytest.mark.parametrize("jobs", [[], [{"skill": "s"}] * 1001, "no", None])
async def test_a_bulk_of_none_or_too_many_is_refused(jobs: object) -> None:
    async with world() as w, w.client() as client:
        answer = await client.post("/v1/jobs/bulk", json={"jobs": jobs})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


def answering(w: World, *outcomes: Exception | None, stores: bool) -> None:
    """Let the journal's next appends fail with `outcomes`; `stores` tells whether it stores all the same."""
    submit, left = w.journal.submit, list(outcomes)

    def unlucky(decision: Decision) -> tuple[asyncio.Future[int], bytes]:
        outcome = left.pop(0) if left else None
        stored, tip = submit(decision) if stores or outcome is None else (asyncio.Future[int](), b"")
        if outcome is not None:
            stored = asyncio.Future()
            stored.set_exception(outcome)
        return stored, tip

    w.journal.submit = unlucky  # type: ignore[method-assign]


LOST = UnknownOutcome("job", UUID(int=0), 1)


@pytest.mark.parametrize("stores", [True, False])
async def test_a_lost_answer_of_the_journal_is_settled(stores: bool) -> None:
    async with world() as w, w.client() as client:
        w.open_lane("resize", 1)
        answering(w, LOST, stores=stores)
        answer = await client.post("/v1/jobs", json={"skill": "resize"})
        assert answer.status_code == 202
        assert answer.json()["sequence"] == 1
        assert len(w.journal.commits) == 1


async def test_an_outcome_that_stays_unknown_is_told() -> None:
    async with world() as w, w.client() as client:
        answering(w, LOST, LOST, stores=False)
        answer = await client.post("/v1/jobs", json={"skill": "s"})
        assert (answer.status_code, answer.json()["code"]) == (503, "outcome_unknown")
        assert answer.headers["retry-after"] == "1"


async def test_a_journal_that_refuses_is_told_and_gives_the_lane_back() -> None:
    async with world() as w, w.client() as client:
        w.open_lane("resize", 1)
        answering(w, JournalUnavailable("full"), stores=False)
        answer = await client.post("/v1/jobs", json={"skill": "resize"})
        assert (answer.status_code, answer.json()["code"]) == (503, "journal_unavailable")
        assert w.lanes.room("resize") == 1
