"""An orchestrator that answers a worker of the SDK at once: `python -m benchmarks.sdk.stub PORT`.

It always has a task, and `GET /done` says how many results came. Nothing is stored and nobody is checked:
what it shows is what the SDK itself can do.
"""

import asyncio
import sys
import time
from typing import Final, cast
from uuid import UUID

import httptools
import orjson

_ANSWER: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"


class Tasks:
    """What is handed out, and how many results came back."""

    def __init__(self) -> None:
        self._number = 0
        self.done = 0

    def next(self) -> bytes:
        """The next task."""
        self._number += 1
        task = {
            "job_id": str(UUID(int=self._number)),
            "task_id": f"{UUID(int=self._number)}.1.1",
            "type": "answer",
            "params": {"number": 1},
            "priority": 0,
            "step": 1,
            "timestamp": int(time.time()),
            "tracing_context": {},
        }
        return orjson.dumps(task)


class Connection(asyncio.Protocol):
    """One connection of the worker."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks, self._url = tasks, b""
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_message_complete(self) -> None:
        if b"/tasks/next" in self._url:
            self._answer(self._tasks.next())
        elif self._url == b"/_worker/tasks/result":
            self._tasks.done += 1
            self._answer(b'{"status":"accepted","transition":"success_transition"}')
        elif self._url == b"/done":
            self._answer(b"%d" % self._tasks.done)
        else:
            self._answer(b'{"status":"ok"}')

    def _answer(self, body: bytes) -> None:
        self._transport.write(_ANSWER % (len(body), body))


async def main(port: int) -> None:
    tasks = Tasks()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(tasks), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(int(sys.argv[1])))
