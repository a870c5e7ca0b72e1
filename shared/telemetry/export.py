"""Spans to a collector by OTLP over HTTP, in the background; what none takes is dropped and counted."""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from shared.application.ports import Journal
from shared.telemetry.spans import Span, Spans

log = logging.getLogger("daybook.telemetry")

BATCH: Final = 512
RESOURCE: Final = Resource.create({"service.name": "daybook"})
SCOPE: Final = InstrumentationScope("daybook")


class SpanExport:
    """Follows the journal and sends its spans to `endpoint` ("http://collector:4318")."""

    def __init__(self, endpoint: str) -> None:
        self._exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=10)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="otlp")
        self.dropped = 0
        """Spans that no collector took."""

    async def run(self, journal: Journal, after: int) -> None:
        """Export what stands behind sequence `after`, for ever."""
        spans = Spans()
        async for commits in journal.follow(after, ("job",)):
            found = [span for commit in commits for span in spans.of(commit)]
            for first in range(0, len(found), BATCH):
                await self._send(found[first : first + BATCH])

    def close(self) -> None:
        """Send nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    async def _send(self, spans: Sequence[Span]) -> None:
        loop = asyncio.get_running_loop()
        result = await loop.run_in_executor(self._thread, self._exporter.export, [readable(s) for s in spans])
        if result is not SpanExportResult.SUCCESS:
            self.dropped += len(spans)
            log.warning("%d spans were not taken by the collector (%d so far)", len(spans), self.dropped)


def readable(span: Span) -> ReadableSpan:
    """The span as the OpenTelemetry SDK exports it."""
    trace = int(span.trace_id, 16)

    def context(id_: str, remote: bool) -> SpanContext:
        return SpanContext(trace, int(id_, 16), is_remote=remote, trace_flags=TraceFlags(TraceFlags.SAMPLED))

    return ReadableSpan(
        name=span.name,
        context=context(span.span_id, False),
        parent=context(span.parent_id, True) if span.parent_id else None,
        resource=RESOURCE,
        attributes=dict(span.attributes),
        kind=SpanKind.INTERNAL,
        status=Status(StatusCode.ERROR) if span.failed else Status(StatusCode.UNSET),
        start_time=span.start * 1000,
        end_time=span.end * 1000,
        instrumentation_scope=SCOPE,
    )
