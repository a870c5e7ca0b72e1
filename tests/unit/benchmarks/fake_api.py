"""A server with the few routes that the load generator knows, on a free port of this machine."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class FakeApi:
    """What it was asked, and how it answers. Jobs end at once; `stats` shows them one question later."""

    url: str = ""
    requests: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    status: str = "succeeded"
    code: int = 200
    delay: float = 0.0
    length: bool = True
    hang_up: bool = False
    open: int = 0
    most_open: int = 0
    submitted: int = 0
    shown: int = 0
    most_unfinished: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")
                headers = dict(line.split(": ", 1) for line in lines[1:] if line)
                self.requests.append(lines[0])
                self.bodies.append(await reader.readexactly(int(headers["content-length"])))
                self.open += 1
                self.most_open = max(self.most_open, self.open)
                await asyncio.sleep(self.delay)
                self.open -= 1
                if self.hang_up:
                    break
                body = json.dumps(self.answer(*lines[0].split()[:2]), separators=(",", ":")).encode()
                length = f"content-length: {len(body)}\r\n" if self.length else ""
                writer.write(f"HTTP/1.1 {self.code} X\r\nserver: fake\r\n{length}\r\n".encode() + body[:5])
                await writer.drain()
                await asyncio.sleep(0)  # the rest comes in another packet
                writer.write(body[5:])
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    def answer(self, method: str, path: str) -> object:
        if path == "/v1/jobs/bulk":
            count = len(json.loads(self.bodies[-1])["jobs"])
            self.submitted += count
            self.most_unfinished = max(self.most_unfinished, self.submitted - self.shown)
            return {"items": [{"job_id": "j"}] * count}
        if path == "/v1/stats":
            now, self.shown = self.shown, self.submitted
            return {"jobs": {"succeeded": now, "queued": 5}}
        if method == "GET" and not path.startswith("/v1/jobs/"):
            page = int(path.partition("cursor=")[2] or 0)
            return {"items": [{}], "next": str(page + 1) if page < 2 else None}
        return {"job_id": "j1", "status": self.status, "sequence": 7}


@asynccontextmanager
async def serving(api: FakeApi) -> AsyncIterator[FakeApi]:
    server = await asyncio.start_server(api.serve, "127.0.0.1", 0)
    async with server:
        api.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield api
