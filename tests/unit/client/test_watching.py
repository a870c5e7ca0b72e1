"""Watching and waiting, over a real connection that breaks where it hurts."""

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID

import orjson
import pytest

from daybook import AsyncClient, Client
from daybook.client.sse import EventReader
from daybook.errors import NotFound, WaitTimeout

JOB = UUID("019a3b5c-0000-7000-8000-000000000001")
Script = Callable[["Stream", int, str], None]


def event(version: int, kind: str, sequence: int) -> dict[str, Any]:
    return {
        "version": version,
        "type": kind,
        "at": "2025-11-21T04:00:00.000000Z",
        "by": "worker:w1",
        "data": {},
        "sequence": sequence,
    }


class Stream(BaseHTTPRequestHandler):
    """One request. The server's script says what it gets."""

    protocol_version = "HTTP/1.1"
    server: "SseServer"

    def do_GET(self) -> None:
        if self.path.endswith("/events"):
            self.server.connections.append(self.headers.get("Last-Event-ID", ""))
            self.server.script(self, len(self.server.connections), self.server.connections[-1])
        else:
            body = orjson.dumps({"job_id": str(JOB), "status": self.server.status, "sequence": 9})
            self.answer(200, body)

    def begin(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def commit(self, sequence: int, *events: tuple[int, str], whole: bool = True) -> None:
        """Send the events of one commit; the id is at the last of them."""
        frames = [
            b"event: %s\ndata: %s\n" % (kind.encode(), orjson.dumps(event(version, kind, sequence)))
            for version, kind in events
        ]
        self.wfile.write(b"\n".join(frames) + (b"id: %d\n\n" % sequence if whole else b"\n"))
        self.wfile.flush()

    def answer(self, status: int, body: bytes, media: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Tests are quiet."""


class SseServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), Stream)
        self.script, self.connections, self.status = script, list[str](), "running"
        self.leave = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def served(script: Script) -> Iterator[SseServer]:
    with SseServer(script) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.leave.set()
            server.shutdown()
            thread.join()


@asynccontextmanager
async def client_of(server: SseServer) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(server.url, "t") as client:
        yield client


def breaks_in_the_middle(stream: Stream, connection: int, last_id: str) -> None:
    """First connection: one commit, half of the next, gone. Then what follows the last whole commit."""
    stream.begin()
    if connection == 1:
        stream.commit(4, (1, "JobAccepted"), (2, "TaskReleased"))
        stream.commit(6, (3, "TaskSucceeded"), whole=False)
        return
    stream.wfile.write(b": alive\n\n")
    stream.commit(6, (3, "TaskSucceeded"), (4, "JobSucceeded"))
    stream.server.leave.wait(10)


EVERYTHING = [(1, "JobAccepted"), (2, "TaskReleased"), (3, "TaskSucceeded"), (4, "JobSucceeded")]


def test_a_broken_connection_loses_and_doubles_no_event() -> None:
    with served(breaks_in_the_middle) as server, Client(server.url, "t") as client:
        seen = [(event.version, event.type) for event in client.watch(JOB)]
        assert server.connections == ["", "4"]
    assert seen == EVERYTHING


async def test_the_asynchronous_watch_is_the_same() -> None:
    with served(breaks_in_the_middle) as server:
        async with client_of(server) as client:
            seen = [(event.version, event.type) async for event in client.watch(JOB)]
        assert server.connections == ["", "4"]
    assert seen == EVERYTHING


def test_a_watch_may_begin_where_another_ended() -> None:
    def script(stream: Stream, connection: int, last_id: str) -> None:
        stream.begin()
        stream.commit(6, (3, "JobFailed"))

    with served(script) as server, Client(server.url, "t") as client:
        assert [event.type for event in client.watch(JOB, last_event_id="4")] == ["JobFailed"]
        assert server.connections == ["4"]


def test_waiting_gives_the_ended_job() -> None:
    def script(stream: Stream, connection: int, last_id: str) -> None:
        stream.begin()
        stream.server.status = "succeeded"
        stream.commit(6, (1, "JobAccepted"), (2, "JobSucceeded"))

    with served(script) as server, Client(server.url, "t") as client:
        assert client.wait(JOB, timeout=10).succeeded


def test_waiting_too_long_tells_the_status() -> None:
    def script(stream: Stream, connection: int, last_id: str) -> None:
        stream.begin()
        stream.commit(4, (1, "JobAccepted"))
        stream.server.leave.wait(10)

    with (
        served(script) as server,
        Client(server.url, "t") as client,
        pytest.raises(WaitTimeout, match=r"is running after 0\.3 s"),
    ):
        client.wait(JOB, timeout=0.3)


async def test_the_asynchronous_wait_ends_in_time_too() -> None:
    def script(stream: Stream, connection: int, last_id: str) -> None:
        stream.begin()
        stream.server.leave.wait(10)

    with served(script) as server:
        async with client_of(server) as client:
            with pytest.raises(WaitTimeout):
                await client.wait(JOB, timeout=0.3)


def test_watching_an_unknown_job_is_not_found() -> None:
    def script(stream: Stream, connection: int, last_id: str) -> None:
        stream.answer(404, b'{"status":404,"title":"There is no such job"}', "application/problem+json")

    with served(script) as server, Client(server.url, "t") as client, pytest.raises(NotFound):
        next(client.watch(JOB))


def test_lines_of_other_fields_and_comments_are_passed_over() -> None:
    reader = EventReader()
    lines = [
        ": hello",
        "",
        "retry: 5",
        "event: X",
        f"data: {orjson.dumps(event(1, 'X', 2)).decode()}",
        "id: 2",
    ]
    assert [reader.line(line) for line in lines] == [None] * 6
    found = reader.line("")
    assert found is not None
    assert found.type == "X"
    assert reader.last_id == "2"
