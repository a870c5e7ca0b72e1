"""What the client sends, and what it makes of the answers."""

from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest

from daybook import AsyncClient, Client
from daybook.client import calls
from daybook.errors import (
    ApiError,
    Conflict,
    Forbidden,
    InvalidRequest,
    InvalidWorkflow,
    NotFound,
    RateLimited,
    ServerError,
    ServerUnreachable,
    TooLarge,
    Unauthorized,
    api_error,
)

JOB = UUID("019a3b5c-0000-7000-8000-000000000001")
TAKEN = {"job_id": str(JOB), "sequence": 7, "status": "queued"}
ENDED = {**TAKEN, "status": "succeeded", "output": {"x": 1}, "created_at": "2025-11-21T04:00:00.123456Z"}


class Server:
    """Answers in turn what it was given, and keeps what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def body(self) -> Any:
        return orjson.loads(self.asked[-1].content)


def client_of(server: Server, **options: Any) -> Client:
    return Client("http://test", "secret", transport=httpx.MockTransport(server), **options)


def answer(status: int, content: Any = None, **headers: str) -> httpx.Response:
    return httpx.Response(status, json=content, headers={k.replace("_", "-"): v for k, v in headers.items()})


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    body = {"title": "No", "status": status, "code": code, "detail": "because", "errors": [{"node": "a"}]}
    found = answer(status, body, **headers)
    found.headers["content-type"] = "application/problem+json"
    return found


def test_a_submit_says_what_was_given_and_nothing_else() -> None:
    server = Server(answer(202, TAKEN))
    with client_of(server) as client:
        taken = client.submit("report", {"text": "…"}, urgency=900, tags={"team": "a"}, idempotency_key="k1")
    assert (taken.job_id, taken.sequence, taken.status) == (JOB, 7, "queued")
    request = server.asked[0]
    assert (request.method, request.url.path) == ("POST", "/v1/jobs")
    assert request.headers["authorization"] == "Bearer secret"
    assert request.headers["idempotency-key"] == "k1"
    assert server.body == {
        "workflow": "report",
        "input": {"text": "…"},
        "urgency": 900,
        "tags": {"team": "a"},
    }


def test_a_submit_needs_either_a_workflow_or_a_skill() -> None:
    with client_of(Server()) as client:
        with pytest.raises(ValueError, match="one of"):
            client.submit()
        with pytest.raises(ValueError, match="one of"):
            client.submit("report", skill="resize")


def test_a_submit_without_an_answer_is_repeated_with_the_same_key() -> None:
    server = Server(httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), answer(202, TAKEN))
    with client_of(server) as client:
        assert client.submit(skill="resize", input={}).job_id == JOB
    first, second, third = (request.headers["idempotency-key"] for request in server.asked)
    assert first == second == third


def test_two_submits_have_different_keys() -> None:
    server = Server(answer(202, TAKEN), answer(202, TAKEN))
    with client_of(server) as client:
        client.submit(skill="resize")
        client.submit(skill="resize")
    assert server.asked[0].headers["idempotency-key"] != server.asked[1].headers["idempotency-key"]


def test_a_busy_server_is_asked_again_when_it_says() -> None:
    server = Server(problem(503, "journal_unavailable", retry_after="0"), answer(200, ENDED))
    with client_of(server) as client:
        assert client.get(JOB).succeeded
    assert len(server.asked) == 2


def test_an_approval_is_never_sent_twice() -> None:
    server = Server(httpx.ReadTimeout("slow"))
    with client_of(server) as client, pytest.raises(ServerUnreachable, match="http://test"):
        client.approve(JOB, "approved")
    assert len(server.asked) == 1


def test_no_answer_at_all_is_told_after_the_retries() -> None:
    server = Server(httpx.ConnectError("refused"), httpx.ConnectError("refused"))
    with client_of(server, retries=1) as client, pytest.raises(ServerUnreachable, match="refused"):
        client.get(JOB)
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "malformed_json", InvalidRequest),
        (401, "unauthenticated", Unauthorized),
        (403, "forbidden", Forbidden),
        (404, "job_not_found", NotFound),
        (409, "illegal_transition", Conflict),
        (413, "body_too_large", TooLarge),
        (422, "invalid", InvalidRequest),
        (422, "invalid_workflow", InvalidWorkflow),
        (429, "too_many", RateLimited),
        (500, "internal", ServerError),
        (418, "teapot", ApiError),
    ],
)
def test_a_problem_is_raised_as_the_error_that_it_is(
    status: int, code: str, expected: type[ApiError]
) -> None:
    with client_of(Server(problem(status, code)), retries=0) as client, pytest.raises(ApiError) as caught:
        client.history(JOB)
    error = caught.value
    assert type(error) is expected
    assert (error.status, error.code, error.title, error.detail) == (status, code, "No", "because")
    assert str(error) == f"{status} No: because"
    if isinstance(error, InvalidRequest):
        assert error.errors == [{"node": "a"}]


def test_a_wrong_graph_is_told_with_its_nodes() -> None:
    body = {
        "title": "No",
        "status": 422,
        "code": "invalid_workflow",
        "errors": [{"message": "node 'a': odd"}],
    }
    with client_of(Server(answer(422, body))) as client, pytest.raises(InvalidWorkflow) as caught:
        client.publish_workflow("w", {})
    assert str(caught.value) == "422 No; node 'a': odd"


def test_an_answer_that_is_no_problem_document_is_an_api_error_too() -> None:
    server = Server(httpx.Response(502, text="<html>bad gateway"))
    with client_of(server, retries=0) as client, pytest.raises(ServerError, match="502 Bad Gateway"):
        client.workers()


def test_many_jobs_are_answered_in_their_order_good_or_bad() -> None:
    bad = {"error": {"status": 422, "code": "invalid", "title": "No"}}
    server = Server(answer(200, {"items": [TAKEN, bad]}))
    with client_of(server) as client:
        first, second = client.submit_many([{"skill": "a", "input": {"n": 1}}, {"workflow": "b"}])
    assert not isinstance(first, ApiError)
    assert first.job_id == JOB
    assert isinstance(second, InvalidRequest)
    assert server.body == {"jobs": [{"skill": "a", "input": {"n": 1}}, {"workflow": "b"}]}


def test_a_list_goes_through_all_pages() -> None:
    pages = [
        answer(200, {"items": [ENDED, ENDED], "next": "c1"}),
        answer(200, {"items": [ENDED], "next": None}),
    ]
    server = Server(*pages)
    with client_of(server) as client:
        jobs = list(client.list(status=["failed", "timed_out"], workflow="w", tags={"a": "b=c"}, page_size=2))
    assert len(jobs) == 3
    assert server.asked[0].url.params.multi_items() == [
        ("status", "failed"),
        ("status", "timed_out"),
        ("workflow", "w"),
        ("tag", "a=b=c"),
        ("limit", "2"),
    ]
    assert server.asked[1].url.params["cursor"] == "c1"


def test_times_come_as_aware_datetimes() -> None:
    with client_of(Server(answer(200, ENDED))) as client:
        created = client.get(JOB).created_at
    assert created is not None
    assert created.isoformat() == "2025-11-21T04:00:00.123456+00:00"


def test_commands_leave_out_what_was_not_given() -> None:
    changed = answer(200, {**TAKEN, "changed": True})
    server = Server(changed, changed, changed, changed)
    with client_of(server) as client:
        client.cancel(JOB)
        assert server.body == {}
        client.cancel(str(JOB), reason="no need")
        assert server.body == {"reason": "no need"}
        client.approve(JOB, "rejected", name="legal")
        assert server.body == {"decision": "rejected", "name": "legal"}
        client.signal(JOB, "a/b", {"n": 1})
    assert server.asked[-1].url.raw_path == f"/v1/jobs/{JOB}/signals/a%2Fb".encode()
    assert server.body == {"payload": {"n": 1}}


def test_a_job_id_that_is_none_never_reaches_the_server() -> None:
    with client_of(Server()) as client, pytest.raises(ValueError, match="badly formed"):
        client.get("../../workers")


def test_running_asks_the_server_to_wait_and_takes_the_ended_job() -> None:
    server = Server(answer(200, ENDED))
    with client_of(server) as client:
        job = client.run(skill="resize", input={}, timeout=20)
    assert job.output == {"x": 1}
    assert server.asked[0].headers["prefer"] == "wait=20"


def test_a_published_graph_is_sent_as_it_is() -> None:
    server = Server(answer(201, {"name": "w", "version": 1, "definition": "ab"}))
    with client_of(server) as client:
        published = client.publish_workflow("w", {"nodes": {}, "edges": []})
    assert (published.version, published.definition) == (1, "ab")
    assert (server.asked[0].method, server.asked[0].url.path) == ("PUT", "/v1/workflows/w")
    assert server.body == {"graph": {"nodes": {}, "edges": []}}


def test_a_token_that_no_header_can_carry_is_refused_at_once() -> None:
    with pytest.raises(Exception, match="header"):
        Client("http://test", "secret\r\nX-Evil: 1")


async def test_the_asynchronous_client_makes_the_same_calls() -> None:
    server = Server(answer(202, TAKEN), answer(200, ENDED), answer(200, {"items": [ENDED], "next": None}))
    async with AsyncClient("http://test", "secret", transport=httpx.MockTransport(server)) as client:
        taken = await client.submit(skill="resize", input={})
        assert (await client.get(taken.job_id, min_sequence=taken.sequence)).succeeded
        assert [job.job_id async for job in client.list()] == [JOB]
    assert server.asked[1].url.params["min_sequence"] == "7"


def test_both_clients_offer_the_same() -> None:
    def offered(cls: type) -> set[str]:
        return {name for name in vars(cls) if not name.startswith("_")}

    assert offered(Client) == offered(AsyncClient)


@pytest.mark.parametrize(
    ("attempt", "failure", "pauses"),
    [
        (1, ServerUnreachable("u", "w"), True),
        (4, ServerUnreachable("u", "w"), False),
        (1, api_error(503, {}), True),
        (1, api_error(500, {}), False),
        (1, api_error(409, {}), False),
    ],
)
def test_only_what_may_pass_is_tried_again(attempt: int, failure: Exception, pauses: bool) -> None:
    assert (calls.pause_before(calls.get(JOB), attempt, 3, failure) is not None) == pauses
