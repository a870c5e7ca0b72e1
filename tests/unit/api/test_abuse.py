"""Nothing that a client sends gives anything but an answer or a problem, and never a 500."""

import random
from typing import Any, NoReturn

import pytest

from services.api.bodies import BodyLimits
from tests.unit.api.world import World, world

BODIES: list[bytes] = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b'"x"',
    b"{",
    b'{"skill"',
    b'{"skill":"s"} trailing',
    b'{"skill":"s","input":' + b"[" * 100_000,
    b'{"skill":"s","input":{"a":' + b"[" * 70 + b"]" * 70 + b"}}",
    b'{"skill":"s","input":{"a":1e400}}',
    b'{"skill":"s","input":{"a":NaN}}',
    b'{"skill":"s","input":{"a":123456789012345678901234567890}}',
    b'{"skill":"s","input":{"a":' + b"9" * 10_000 + b"}}",
    b'{"skill":"s","input":{"a":"\\ud800"}}',
    b'{"skill":"\xff\xfe"}',
    b'{"skill":"s","tags":{"\\u0000":"x"}}',
    b'{"skill":"s","alias":"a\\u0000b"}',
    b'{"skill":">"}',
    b'{"skill":"*"}',
    b'{"skill":"a.b"}',
    b'{"skill":"$JS.API.STREAM.DELETE.JOURNAL"}',
    b'{"workflow":"a/b"}',
    b'{"skill":"s","retry":{"quarantine":["nonsense"]}}',
    b'{"skill":"s","deadline_seconds":1e300}',
    b'{"skill":"s","concurrency":{"key":"","limit":0}}',
    b'{"jobs":[null,1,"x",[],{}]}',
    b'{"jobs":[{"skill":"s","input":{"a":1e400}}]}',
    b'{"graph":null}',
    b'{"graph":{"nodes":{"a":{"kind":"nonsense"}},"edges":[]}}',
    b'{"graph":{"nodes":{"a":{"kind":"task","skill":"s"}},"edges":[1,{"from":[]},{"from":"a","to":"b"}]}}',
    b'{"graph":{"nodes":{"a":{"kind":"route","cases":[{"when":"((((","port":"p"}]}},"edges":[]}}',
    b'{"decision":">"}',
    b'{"payload":{"a":[1,2]}}',
]

PATHS = [
    "/v1/jobs",
    "/v1/jobs/bulk",
    "/v1/jobs/{id}/cancel",
    "/v1/jobs/{id}/pause",
    "/v1/jobs/{id}/resume",
    "/v1/jobs/{id}/approve",
    "/v1/jobs/{id}/signals/go",
    "/v1/jobs/{id}/retry",
]


def check(answer: Any) -> None:
    assert answer.status_code < 500 or answer.json()["code"] != "internal", answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == answer.status_code
        assert problem["type"] == f"urn:daybook:problem:{problem['code']}"
        assert problem["title"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


async def a_job(w: World) -> str:
    async with w.client() as client:
        job: str = (await client.post("/v1/jobs", json={"skill": "s"})).json()["job_id"]
        return job


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:40]))
async def test_no_body_breaks_a_route(body: bytes) -> None:
    async with world() as w, w.client() as client:
        job = await a_job(w)
        for path in PATHS:
            headers = {"Content-Type": "application/json"}
            check(await client.post(path.format(id=job), content=body, headers=headers))
        check(await client.put("/v1/workflows/w", content=body, headers={"Content-Type": "application/json"}))


async def test_mutated_bodies_break_nothing() -> None:
    chance = random.Random(7)
    good = b'{"skill":"resize","input":{"a":[1,2.5,"x",null,true]},"urgency":7,"tags":{"k":"v"}}'
    async with world() as w, w.client() as client:
        for _ in range(500):
            body = bytearray(good)
            for _ in range(chance.randint(1, 4)):
                match chance.randint(0, 2):
                    case 0:
                        body[chance.randrange(len(body))] = chance.randrange(256)
                    case 1:
                        del body[chance.randrange(len(body)) :][:1]
                    case _:
                        body.insert(chance.randrange(len(body)), chance.choice(b'[]{}":,0e-\\u'))
            check(await client.post("/v1/jobs", content=bytes(body)))


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/bulk", "/v1/workflows/w"])
async def test_a_body_over_the_limit_is_told_the_limit(path: str) -> None:
    async with world(limits=BodyLimits(max_bytes=100, bulk_factor=2)) as w, w.client() as client:
        method = "PUT" if "workflows" in path else "POST"
        answer = await client.request(method, path, content=b" " * 300)
        check(answer)
        assert answer.status_code == 413
        assert "bytes" in answer.json()["detail"]
        assert answer.headers["connection"] == "close"


IDS = [
    "x",
    "*",
    ">",
    "a.b",
    "%2e%2e",
    "%0d%0aX-Evil:%20y",
    "%00",
    "$JS.API.STREAM.INFO.JOURNAL",
    "x" * 3000,
    "00000000-0000-0000-0000-000000000000",
    "00000000000000000000000000000000",
    "{00000000-0000-0000-0000-000000000000}",
    "urn:uuid:00000000-0000-0000-0000-000000000000",
    "00000000-0000-0000-0000-00000000000G",
    "%F0%9F%98%80",
]


@pytest.mark.parametrize("job", IDS, ids=lambda job: job[:40])
async def test_an_id_that_is_none_is_not_found(job: str) -> None:
    async with world() as w, w.client() as client:
        for tail in ("", "/history", "/events"):
            answer = await client.get(f"/v1/jobs/{job}{tail}")
            check(answer)
            assert answer.status_code == 404
            assert "x-evil" not in answer.headers
        for tail in ("cancel", "pause", "resume", "retry", "signals/x"):
            answer = await client.post(f"/v1/jobs/{job}/{tail}")
            check(answer)
            assert answer.status_code == 404


async def test_an_id_has_one_spelling() -> None:
    async with world() as w, w.client() as client:
        job = await a_job(w)
        for other in (job.upper(), job.replace("-", ""), "{" + job + "}", "urn:uuid:" + job):
            assert (await client.get(f"/v1/jobs/{other}")).status_code == (200 if other == job else 404)


@pytest.mark.parametrize(
    "query",
    [
        "status=nonsense",
        "limit=0",
        "limit=501",
        "limit=x",
        "cursor=%00",
        "cursor=zzz",
        "parent=x",
        "tag=novalue",
        "created_after=yesterday",
        "created_after=2026-01-01T00:00:00",
        "state=failed",
        "min_sequence=-1",
        "workflow=%0d%0a",
        "min_sequence=99999999999999999999",
        "skill=" + "s" * 300,
        "tag=a=" + "x" * 500,
    ],
)
async def test_a_filter_that_makes_no_sense_is_refused(query: str) -> None:
    async with world() as w, w.client() as client:
        answer = await client.get(f"/v1/jobs?{query}")
        check(answer)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v1/jobs/", 404),
        ("POST", "/v1/jobs/", 404),
        ("DELETE", "/v1/jobs", 405),
        ("PUT", "/v1/jobs/bulk", 405),
        ("PATCH", "/v1/workflows/w", 405),
        ("TRACE", "/v1/jobs", 405),
        ("GET", "/v1/../etc/passwd", 404),
        ("GET", "/docs", 404),
    ],
)
async def test_paths_and_methods_that_are_not_there_are_problems(method: str, path: str, status: int) -> None:
    async with world() as w, w.client() as client:
        answer = await client.request(method, path)
        check(answer)
        assert answer.status_code == status


async def test_a_refused_method_names_all_that_are_taken() -> None:
    async with world() as w, w.client() as client:
        assert (await client.delete("/v1/jobs")).headers["allow"] == "GET, POST"


@pytest.mark.parametrize(
    "headers",
    [
        {"Idempotency-Key": ""},
        {"Idempotency-Key": "x" * 256},
        {"Idempotency-Key": "a b"},
        {"Idempotency-Key": "\xe9"},
        {"Prefer": "wait=abc"},
        {"Prefer": "wait=99999999999"},
        {"Prefer": "wait=-1"},
        {"traceparent": "\xff" * 100},
        {"Content-Type": "application/json\xff"},
        {"Content-Encoding": "gzip"},
        {"Last-Event-ID": "x"},
    ],
)
async def test_headers_that_make_no_sense_break_nothing(headers: dict[str, str]) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    async with world() as w, w.client() as client:
        check(await client.post("/v1/jobs", json={"skill": "s"}, headers=[*client.headers.raw, *raw]))


async def test_an_error_nobody_expected_tells_nothing_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    async with world() as w, w.client() as client:

        def broken(*_: object) -> NoReturn:
            raise RuntimeError("the secret detail")

        w.journal.submit = broken  # type: ignore[assignment,method-assign]
        answer = await client.post("/v1/jobs", json={"skill": "s"})
        assert (answer.status_code, answer.json()["code"]) == (500, "internal")
        assert "secret" not in answer.text
        assert "the secret detail" in caplog.text
        w.journal.history = broken  # type: ignore[assignment,method-assign]
        answer = await client.get("/v1/jobs/00000000-0000-0000-0000-000000000000/history")
        assert (answer.status_code, answer.json()["code"]) == (500, "internal")
        assert "secret" not in answer.text
