"""Trace context: a task's `traceparent` becomes the parent of the spans that its skill opens."""

import contextvars
import re

from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, ProxyTracerProvider, SpanContext, TraceFlags

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


def is_configured() -> bool:
    """Whether the program has set up OpenTelemetry; without it nothing here costs anything."""
    return not isinstance(trace.get_tracer_provider(), ProxyTracerProvider)


def attach(traceparent: str) -> "contextvars.Token[context.Context] | None":
    """Make a W3C traceparent the current span's context; None when it is not one (it is then left out)."""
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in found.groups())
    parent = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    if not parent.is_valid:
        return None
    return context.attach(trace.set_span_in_context(NonRecordingSpan(parent)))
