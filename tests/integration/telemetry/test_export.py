"""The spans that a collector gets are the history of the jobs, one to one."""

import asyncio
import gzip
import os
import subprocess
import sys
import threading
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import UUID

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from shared.telemetry.ids import span_id
from tests.support.system import ROOT, WORKER_TOKEN, System, caught_up

pytestmark = pytest.mark.connected

TRACE = "0af7651916cd43dd8448eb211c80319c"


class Collector:
    """An OTLP receiver that keeps what it gets."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        spans = self.spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                request = ExportTraceServiceRequest.FromString(_plain(body, self.headers))
                spans.extend(
                    s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans
                )
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the library's name)
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _plain(body: bytes, headers: Message) -> bytes:
    return gzip.decompress(body) if headers["Content-Encoding"] == "gzip" else body


async def test_the_spans_of_a_run_are_its_history_one_to_one(tmp_path: Path) -> None:
    collector = Collector()
    system = System(tmp_path / "data", {"DAYBOOK_OTLP_ENDPOINT": collector.endpoint})
    worker = None
    try:
        await system.start()
        worker = subprocess.Popen(  # noqa: ASYNC220 (it takes a moment)
            [sys.executable, "-m", "tests.integration.dispatcher.skills"],
            cwd=ROOT,
            env={**os.environ, "DAYBOOK_NATS_URL": system.nats, "DAYBOOK_WORKER_TOKEN": WORKER_TOKEN},
        )
        async with system.client(timeout=60) as client:
            child = {"nodes": {"t": {"kind": "task", "skill": "add"}}, "edges": []}
            parent = {
                "nodes": {
                    "c": {"kind": "subflow", "workflow": "child"},
                    "e": {"kind": "task", "skill": "echo"},
                },
                "edges": [{"from": "c", "to": "e"}],
            }
            for name, graph in (("child", child), ("parent", parent)):
                assert (await client.put(f"/v1/workflows/{name}", json={"graph": graph})).status_code == 201
            headers = {"Prefer": "wait=40", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
            answer = await client.post(
                "/v1/jobs", json={"workflow": "parent", "input": {"n": 1}}, headers=headers
            )
            job = answer.json()
            assert job["status"] == "succeeded", job
            listed = (await caught_up(client, f"/v1/jobs?min_sequence={job['sequence']}"))["items"]
            assert len(listed) == 2
            expected = {}
            for one in listed:
                for event in (await client.get(f"/v1/jobs/{one['job_id']}/history")).json():
                    expected[span_id(UUID(one["job_id"]), event["version"])] = event["type"]
        async with asyncio.timeout(60):
            while len(collector.spans) < len(expected):
                await asyncio.sleep(0.05)
        assert {span.span_id.hex(): span.name for span in collector.spans} == expected
        assert len(collector.spans) == len(expected)
        assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
        known = {span.span_id.hex() for span in collector.spans} | {"b7ad6b7169203331"}
        assert {span.parent_span_id.hex() for span in collector.spans} <= known
        worker.terminate()
        worker.wait(20)
        await system.stop()
    finally:
        if worker is not None:
            worker.kill()
            worker.wait()
        system.destroy()
        collector.close()
