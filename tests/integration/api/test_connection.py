"""The server at its socket: what is not HTTP, heads without an end, many requests on one connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from services.api.connection import MAX_HEAD_BYTES, Connection
from services.api.serving import serve
from shared.process import Process
from shared.settings import Settings
from tests.integration.api.test_serving import free_port
from tests.unit.api.world import World, world

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connected(data: Path, w: World) -> AsyncIterator[Streams]:
    address = f"127.0.0.1:{free_port()}"
    settings, process = Settings.from_env(data=data, http=address), Process("api", data)
    serving = asyncio.create_task(serve(w.parts, settings, process))
    async with asyncio.timeout(30):
        while not process.ready_file.exists():
            await asyncio.sleep(0.01)
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()
        process.stopping.set()
        async with asyncio.timeout(30):
            await serving


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The status and body of the next answer on a connection."""
    async with asyncio.timeout(30):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        return int(head.split(b" ")[1]), await reader.readexactly(length)


@pytest.mark.parametrize(
    "text",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_not_http_is_a_problem_too(text: bytes, tmp_path: Path) -> None:
    async with world() as w, connected(tmp_path, w) as (reader, writer):
        writer.write(text)
        status, body = await answer(reader)
        assert status in (400, 401)
        assert orjson.loads(body)["status"] == status


async def test_a_head_without_an_end_is_refused(tmp_path: Path) -> None:
    async with world() as w, connected(tmp_path, w) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ")
        for _ in range(MAX_HEAD_BYTES // 1024 + 2):
            writer.write(b"x" * 1024)
        status, body = await answer(reader)
        assert (status, orjson.loads(body)["code"]) == (431, "head_too_large")


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nHost:"])
async def test_a_connection_that_says_nothing_is_closed(
    start: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection, "head_seconds", 0.1)
    async with world() as w, connected(tmp_path, w) as (reader, writer):
        writer.write(start)
        async with asyncio.timeout(30):
            assert await reader.read() == b""


async def test_a_large_body_right_behind_its_head_is_no_large_head(tmp_path: Path) -> None:
    body = orjson.dumps({"skill": "s", "input": {"x": "y" * 900_000}})
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token-a\r\nContent-Length: %d\r\n\r\n"
    async with world() as w, connected(tmp_path, w) as (reader, writer):
        for _ in range(2):  # one connection, one after the other
            writer.write(head % len(body) + body)
            assert (await answer(reader))[0] == 202


async def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    head = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"
    async with world() as w, connected(tmp_path, w) as (reader, writer):
        writer.write(head % b"/livez" + head % b"/nowhere" + head % b"/livez")
        assert [(await answer(reader))[0] for _ in range(3)] == [200, 404, 200]


async def test_a_body_that_breaks_off_is_nobodys_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    head = b"%b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token-a\r\nContent-Length: 100\r\n\r\n{"
    async with world() as w, connected(tmp_path, w) as (reader, writer):
        host, port = writer.get_extra_info("peername")
        for line in (b"POST /v1/jobs", b"PUT /v1/workflows/w"):
            _, other = await asyncio.open_connection(host, port)
            other.write(head % line)
            await other.drain()
            other.close()
            await other.wait_closed()
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await answer(reader))[0] == 200
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
