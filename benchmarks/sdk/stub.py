"""An orchestrator that answers a worker of the SDK at once: `python -m benchmarks.sdk.stub PORT TASKS`.

It hands out that many tasks, then none, and prints how many seconds lay between the first task and the last
result. Nothing is stored and nobody is checked: what it shows is what the SDK itself can do.
"""

import asyncio
import sys
import time
from typing import Final, cast
from uuid import UUID

import httptools
import orjson

_ANSWER: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
_NONE: Final = b"HTTP/1.1 204 No Content\r\n\r\n"


class Tasks:
    """What is handed out, and when the first went and the last came back."""

    def __init__(self, number: int) -> None:
        self._left, self._open = number, number
        self._began = 0.0
        self.over: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def next(self) -> bytes:
        """The next task; empty when there is none."""
        if not self._left:
            return b""
        self._began = self._began or time.monotonic()
        self._left -= 1
        task = {
            "job_id": str(UUID(int=self._left)),
            "task_id": f"{UUID(int=self._left)}.1.1",
            "type": "answer",
            "params": {"number": 1},
            "priority": 0,
            "step": 1,
            "timestamp": int(time.time()),
            "tracing_context": {},
        }
        return orjson.dumps(task)

    def done(self) -> None:
        """A result came."""
        self._open -= 1
        if not self._open:
            self.over.set_result(time.monotonic() - self._began)


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
            task = self._tasks.next()
            if task:
                self._answer(task)
            else:
                # A held poll: an empty answer at once would make the worker wait half a second.
                asyncio.get_running_loop().call_later(1.0, self._transport.write, _NONE)
        elif self._url == b"/_worker/tasks/result":
            self._tasks.done()
            self._answer(b'{"status":"accepted","transition":"success_transition"}')
        else:
            self._answer(b'{"status":"ok"}')

    def _answer(self, body: bytes) -> None:
        self._transport.write(_ANSWER % (len(body), body))


async def main(port: int, number: int) -> None:
    loop = asyncio.get_running_loop()
    tasks = Tasks(number)
    server = await loop.create_server(lambda: Connection(tasks), "127.0.0.1", port)
    print("ready", flush=True)
    print(await tasks.over, flush=True)
    server.close()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
