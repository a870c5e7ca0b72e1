import asyncio

import pytest

from benchmarks.commands import Bulk, Closed, Open, Pages, Reply
from benchmarks.driver import LoadGenerator
from benchmarks.errors import BadAnswer, LoadFailed
from benchmarks.http_client import Connection, Pool, address_of, request
from benchmarks.load import finished, run
from tests.unit.benchmarks.fake_api import FakeApi, serving


def submit(api: FakeApi) -> bytes:
    return request(
        "POST", "/v1/jobs", to=address_of(api.url), token="t", json={"skill": "noop"}, wait_seconds=30
    )


def closed(api: FakeApi, seconds: float = 0.1, in_flight: int = 4) -> Closed:
    return Closed(api.url, submit(api), '"status":"succeeded"', in_flight, seconds)


def bulk(
    api: FakeApi, size: int = 10, window: int = 40, seconds: float = 0.2, jobs: int | None = None
) -> Bulk:
    to = address_of(api.url)
    post = request("POST", "/v1/jobs/bulk", to=to, token="t", json={"jobs": [{}] * size})
    stats = request("GET", "/v1/stats", to=to, token="t")
    return Bulk(api.url, post, stats, size, window, connections=2, seconds=seconds, jobs=jobs)


def test_a_request_carries_token_length_and_how_long_to_wait() -> None:
    to = address_of("http://127.0.0.1:8000")
    head, _, body = request("POST", "/x", to=to, token="t", json={"a": 1}, wait_seconds=30).partition(
        b"\r\n\r\n"
    )
    assert head.split(b"\r\n") == [
        b"POST /x HTTP/1.1",
        b"host: 127.0.0.1:8000",
        b"authorization: Bearer t",
        b"content-length: 7",
        b"content-type: application/json",
        b"prefer: wait=30",
    ]
    assert body == b'{"a":1}'


def test_an_address_without_a_port_is_refused() -> None:
    with pytest.raises(ValueError, match="http://HOST:PORT"):
        address_of("http://localhost")


async def test_a_closed_loop_keeps_as_many_in_flight_as_it_is_told() -> None:
    async with serving(FakeApi(delay=0.01)) as api:
        ran = await run(closed(api, seconds=0.2, in_flight=4))
    assert api.most_open == 4
    assert ran.done == len(api.requests)
    assert ran.failed == 0
    assert ran.seen is not None
    assert ran.seen.p50 >= 10
    assert ran.last_sequence == 7
    assert ran.seconds >= 0.2


async def test_a_job_that_did_not_succeed_does_not_count() -> None:
    async with serving(FakeApi(status="failed")) as api:
        ran = await run(closed(api))
    assert ran.done == 0
    assert ran.failed > 0
    assert '"status":"failed"' in str(ran.failure)


async def test_a_refusal_does_not_count() -> None:
    async with serving(FakeApi(code=503)) as api:
        ran = await run(closed(api))
    assert ran.done == 0
    assert str(ran.failure).startswith("503")


async def test_a_server_that_hangs_up_ends_the_run() -> None:
    async with serving(FakeApi(hang_up=True)) as api:
        with pytest.raises(ExceptionGroup) as told:
            await run(closed(api))
    assert told.group_contains(ConnectionError)


async def test_an_answer_without_a_length_is_not_understood() -> None:
    async with serving(FakeApi(length=False)) as api:
        connection = await Connection.open(address_of(api.url))
        with pytest.raises(BadAnswer, match="Content-Length"):
            await connection.exchange(submit(api))
        assert connection.closed


async def test_a_pool_replaces_a_connection_that_the_server_closed() -> None:
    async with serving(FakeApi()) as api:
        pool = Pool(address_of(api.url))
        assert (await pool.exchange(submit(api))).status == 200
        api.hang_up = True
        with pytest.raises(ConnectionError):
            await pool.exchange(submit(api))
        api.hang_up = False
        assert (await pool.exchange(submit(api))).status == 200
        pool.close()


async def test_an_open_loop_submits_at_its_rate_and_asks_the_read_model_for_each_job() -> None:
    async with serving(FakeApi(delay=0.03)) as api:
        ran = await run(
            Open(
                api.url,
                "t",
                submit(api),
                '"succeeded"',
                "/v1/jobs/{job_id}?min_sequence={sequence}",
                100,
                0.2,
            )
        )
    assert ran.done == 20
    assert api.requests.count("GET /v1/jobs/j1?min_sequence=7 HTTP/1.1") == 20
    assert ran.seen is not None
    assert ran.read is not None
    assert ran.read.p50 >= ran.seen.p50 + 25
    assert ran.seconds > 0.19


async def test_bulk_counts_what_the_read_model_shows_and_never_passes_its_window() -> None:
    async with serving(FakeApi()) as api:
        ran = await run(bulk(api))
    assert ran.done == api.submitted == api.shown > 0
    assert api.most_unfinished <= 40


async def test_bulk_stops_at_the_number_of_jobs_it_is_told() -> None:
    async with serving(FakeApi()) as api:
        ran = await run(bulk(api, seconds=60, jobs=100))
    assert ran.done == 100


async def test_a_refused_bulk_request_ends_the_run() -> None:
    async with serving(FakeApi(code=500)) as api:
        with pytest.raises(BadAnswer, match="stats: 500"):
            await run(bulk(api))


async def test_pages_follow_the_cursor_and_start_again_at_the_end() -> None:
    async with serving(FakeApi()) as api:
        ran = await run(Pages(api.url, "t", "/v1/jobs?limit=50", 4))
    assert ran.done == 4
    assert [line.split()[1] for line in api.requests] == [
        "/v1/jobs?limit=50",
        "/v1/jobs?limit=50&cursor=1",
        "/v1/jobs?limit=50&cursor=2",
        "/v1/jobs?limit=50",
    ]


async def test_only_ended_jobs_are_finished() -> None:
    async with serving(FakeApi(submitted=3, shown=2)) as api:
        connection = await Connection.open(address_of(api.url))
        stats = request("GET", "/v1/stats", to=address_of(api.url), token="t")
        assert finished(await connection.exchange(stats)) == 2
        connection.close()


async def test_the_load_generator_is_a_process_that_runs_one_command_after_the_other() -> None:
    async with serving(FakeApi()) as api:
        with LoadGenerator() as load:
            first = await asyncio.to_thread(load.run, closed(api))
            second = await asyncio.to_thread(load.run, closed(api))
    assert first.done + second.done == len(api.requests)


async def test_a_failed_job_makes_the_whole_run_fail() -> None:
    async with serving(FakeApi(status="cancelled")) as api:
        with LoadGenerator() as load, pytest.raises(LoadFailed, match="cancelled"):
            await asyncio.to_thread(load.run, closed(api))


def test_a_server_that_is_not_there_is_told_with_its_reason() -> None:
    with LoadGenerator() as load, pytest.raises(LoadFailed, match="ConnectionRefusedError"):
        load.run(Closed("http://127.0.0.1:1", b"x", "x", 1, 0.1))


def test_a_reply_holds_nothing_until_something_ran() -> None:
    assert Reply().ran is None
