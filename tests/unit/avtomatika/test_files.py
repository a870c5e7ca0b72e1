"""The routes of files, on a store that is a folder."""
# ruff: noqa: RUF001 (ambiguous characters are what is tested)

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from shared.domain.job import GoTo
from shared.domain.job.actions import Emission
from tests.unit.avtomatika.world import World, world


@asynccontextmanager
async def serving(tmp_path: Path, **settings: Any) -> AsyncIterator[tuple[World, httpx.AsyncClient, str]]:
    """The world, alice, and the path of a job's files."""
    folders = {"data": tmp_path / "data", "files_dir": tmp_path / "store"}
    async with world(tmp_path, **folders, **settings) as w, w.client() as client:
        yield w, client, f"/api/v1/jobs/{await w.submit()}/files"


def kept(tmp_path: Path) -> list[str]:
    store = tmp_path / "store"
    return sorted(str(path.relative_to(store)) for path in store.rglob("*") if path.is_file())


async def test_a_file_goes_in_through_us_and_comes_out_by_a_stable_path(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, client, files):
        job = files.split("/")[4]
        put = await client.put(f"{files}/content/a/b.txt", content=b"hello")
        uri = f"s3://files/jobs/{job}/a/b.txt"
        assert (put.status_code, put.json()) == (200, {"status": "uploaded", "s3_uri": uri})
        assert kept(tmp_path) == [f"jobs/{job}/a/b.txt"]

        found = await client.get(f"{files}/download/a/b.txt")
        assert found.status_code == 302
        async with httpx.AsyncClient(transport=client._transport, base_url="http://daybook") as anybody:
            content = await anybody.get(found.headers["location"])
        assert (content.status_code, content.content) == (200, b"hello")
        assert content.headers["content-type"] == "application/octet-stream"
        assert content.headers["x-content-type-options"] == "nosniff"
        assert content.headers["content-disposition"].startswith('attachment; filename="b.txt"')


async def test_a_link_to_upload_is_what_is_documented(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, client, files):
        told = (await client.get(f"{files}/upload?filename=a.txt")).json()
        assert sorted(told) == ["expires_in", "method", "url"]
        assert (told["expires_in"], told["method"]) == (3600, "PUT")
        assert told["url"].startswith("http://daybook/_files/jobs/")
        async with httpx.AsyncClient(transport=client._transport) as anybody:
            assert (await anybody.put(told["url"], content=b"data")).status_code == 200
            assert (await anybody.get(told["url"])).status_code == 403
        assert (tmp_path / "store" / kept(tmp_path)[0]).read_bytes() == b"data"
        short = (await client.get(f"{files}/upload?filename=a.txt&expires_in=5")).json()
        assert short["expires_in"] == 5


async def test_a_link_that_is_made_for_others_has_the_public_url(tmp_path: Path) -> None:
    async with serving(tmp_path, public_url="https://jobs.example.org") as (_, client, files):
        told = (await client.get(f"{files}/upload?filename=a.txt")).json()
        assert told["url"].startswith("https://jobs.example.org/_files/jobs/")


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "job_id and filename (query param) are required"),
        ("filename=", "job_id and filename (query param) are required"),
        ("filename=a&expires_in=x", "expires_in must be an integer"),
        ("filename=a&expires_in=1.5", "expires_in must be an integer"),
        ("filename=a&expires_in=0", "expires_in must be from 1 to 604800"),
        ("filename=a&expires_in=604801", "expires_in must be from 1 to 604800"),
        ("filename=../a", "Invalid filename: between slashes it has nothing, or dots alone"),
    ],
)
async def test_a_link_that_cannot_be_is_refused(tmp_path: Path, query: str, text: str) -> None:
    async with serving(tmp_path) as (_, client, files):
        answer = await client.get(f"{files}/upload?{query}")
        assert (answer.status_code, answer.json()) == (400, {"error": text})


async def test_whose_the_job_is_comes_before_whether_there_are_files(tmp_path: Path) -> None:
    not_found = (404, {"error": "Job not found"})
    async with serving(tmp_path) as (w, client, files):
        await client.put(f"{files}/content/a", content=b"secret")
        for job in (files, "/api/v1/jobs/nope/files"):
            async with w.client("token-bob" if job == files else "token-alice") as other:
                for answer in (
                    await other.get(f"{job}/upload?filename=a"),
                    await other.put(f"{job}/content/a", content=b"x"),
                    await other.get(f"{job}/download/a"),
                    await other.put(f"{job}/content/..%2f..%2fa", content=b"x"),
                ):
                    assert (answer.status_code, answer.json()) == not_found
        async with w.client(None) as nobody:
            assert (await nobody.get(f"{files}/download/a")).status_code == 401
        (file,) = kept(tmp_path)
        assert (tmp_path / "store" / file).read_bytes() == b"secret"
    async with world(tmp_path) as w, w.client("token-bob") as bob:  # where nothing is set
        answer = await bob.get(f"/api/v1/jobs/{await w.submit()}/files/download/a")
        assert (answer.status_code, answer.json()) == not_found


@pytest.mark.parametrize(
    "path",
    [
        "..%2f..%2fx",
        "%2e%2e/%2e%2e/x",
        "%252e%252e%252fx",
        "a%5c..%5cx",
        "a%00b",
        "a%0ab",
        "%2fetc%2fpasswd",
        "%ff%fe",
        "nul.txt",
        quote("．．／x"),
        quote("a\u202egpj.exe"),
        "a//b",
        "a/",
        "x" * 4096,
    ],
)
async def test_names_that_could_do_harm_are_refused_everywhere(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path) as (_, client, files):
        for method, what in (("PUT", "content"), ("GET", "download")):
            raw = f"{files}/{what}/{path}".encode()
            answer = await client.request(method, httpx.URL("http://daybook", raw_path=raw))
            assert answer.status_code == 400, answer.text
            assert answer.json()["error"].startswith("Invalid filename: ")
        assert kept(tmp_path) == []


async def test_a_body_over_the_limit_is_413_and_leaves_nothing(tmp_path: Path) -> None:
    async def chunked() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 500

    async with serving(tmp_path, files_max_bytes=1000) as (_, client, files):
        too_large = (413, {"error": "File too large: the limit is 1000 bytes"})
        for body in (b"x" * 1001, chunked()):
            answer = await client.put(f"{files}/content/a", content=body)
            assert (answer.status_code, answer.json()) == too_large
            assert answer.headers["connection"] == "close"
        link = (await client.get(f"{files}/upload?filename=a")).json()["url"]
        assert (await client.put(link, content=b"x" * 1001)).status_code == 413
        assert kept(tmp_path) == []
        assert (await client.put(f"{files}/content/a", content=b"x" * 1000)).status_code == 200


@pytest.mark.parametrize(
    ("asked", "status", "content", "told"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=5-500", 206, b"56789", "bytes 5-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=-0", 416, None, "bytes */10"),
        ("bytes=5-2", 200, b"0123456789", None),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
    ],
)
async def test_a_download_can_be_of_a_part(
    tmp_path: Path, asked: str, status: int, content: bytes | None, told: str | None
) -> None:
    async with serving(tmp_path) as (_, client, files):
        await client.put(f"{files}/content/a", content=b"0123456789")
        link = (await client.get(f"{files}/download/a")).headers["location"]
        answer = await client.get(link, headers={"Range": asked})
        assert answer.status_code == status
        assert answer.headers.get("content-range") == told
        if content is not None:
            assert answer.content == content
            assert answer.headers["content-length"] == str(len(content))
        head = await client.head(link)
        assert (head.status_code, head.headers["content-length"], head.content) == (200, "10", b"")


async def test_what_a_download_is_called_cannot_break_its_header(tmp_path: Path) -> None:
    name = "é\"; x=y; ';.txt"
    async with serving(tmp_path) as (_, client, files):
        assert (await client.put(f"{files}/content/{quote(name)}", content=b"x")).status_code == 200
        link = (await client.get(f"{files}/download/{quote(name)}")).headers["location"]
        told = (await client.get(link)).headers["content-disposition"]
        assert told == f"attachment; filename=\"___ x=y_ __.txt\"; filename*=UTF-8''{quote(name, safe='')}"


async def test_a_file_that_is_not_there_is_404_at_the_link(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, client, files):
        link = (await client.get(f"{files}/download/nope")).headers["location"]
        answer = await client.get(link)
        assert (answer.status_code, answer.json()["code"]) == (404, "file_not_found")
        assert (await client.post(link)).status_code == 405


async def test_a_store_that_fails_is_500_without_its_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path) as (_, client, files):
        job = files.split("/")[4]
        (tmp_path / "store" / "jobs").mkdir()
        (tmp_path / "store" / "jobs" / job).write_bytes(b"in the way")
        answer = await client.put(f"{files}/content/a", content=b"x")
        assert (answer.status_code, answer.json()) == (500, {"error": "The file could not be stored"})
        metrics = (await client.get("/_public/metrics")).text
    assert 'orchestrator_s3_operations_total{operation="upload",status="error"} 1.0' in metrics
    assert f"a file of job {job} was not stored" in caplog.text


@pytest.mark.parametrize("size", [1, 6 * 1024 * 1024])
async def test_a_name_that_others_leave_no_room_for_is_refused_not_broken(tmp_path: Path, size: int) -> None:
    async with serving(tmp_path) as (_, client, files):
        await client.put(f"{files}/content/in/a", content=b"kept")
        before = kept(tmp_path)
        for name, why in (("in", "it is a folder of other files"), ("in/a/b", "a folder in it is a file")):
            answer = await client.put(f"{files}/content/{name}", content=b"x" * size)
            assert (answer.status_code, answer.json()) == (400, {"error": f"Invalid filename: {why}"})
            put = (await client.get(f"{files}/upload?filename={name}")).json()["url"]
            answer = await client.put(put, content=b"x" * size)
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
            get = (await client.get(f"{files}/download/{name}")).headers["location"]
            for method in ("GET", "HEAD"):
                assert (await client.request(method, get)).status_code == 404
        assert kept(tmp_path) == before


async def test_operations_are_counted_and_links_are_in_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(tmp_path) as (_, client, files):
        await client.put(f"{files}/content/a", content=b"x")
        link = (await client.get(f"{files}/download/a")).headers["location"]
        await client.get(link)
        told = (await client.get(f"{files}/upload?filename=b")).json()["url"]
        metrics = (await client.get("/_public/metrics")).text
    for operation in ("upload", "download"):
        assert f'orchestrator_s3_operations_total{{operation="{operation}",status="success"}} 1.0' in metrics
        assert f'orchestrator_s3_operation_duration_seconds_count{{operation="{operation}"}} 1.0' in metrics
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("httpx")]
    for secret in (link, told):
        signature = secret.rpartition("signature=")[2]
        assert signature not in metrics
        assert not any(signature in line for line in ours)


async def test_history_tells_of_files_that_handlers_moved(tmp_path: Path) -> None:
    moved: dict[str, Any] = {"operation": "upload", "s3_uri": "s3://files/jobs/x/a", "size": 3}
    async with world(tmp_path) as w, w.client() as client:
        job = await w.submit()
        await w.act(job, GoTo("finished", events=(Emission("daybook.file_operation", moved),)))
        history = (await client.get(f"/api/v1/jobs/{job}/history")).json()
    (event,) = [event for event in history if event["event_type"] == "s3_operation"]
    assert event["context_snapshot"] == moved
    assert "payload" not in event
