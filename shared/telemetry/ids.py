"""Trace and span ids that follow from the history: a trace can be made again from the journal years later.

A job's trace is the one its client sent along (`traceparent`), else its own id, which is 128 bits as trace
ids are. A span's id is the first 64 bits of the SHA-256 of the job's id and the version of the event.
Source: W3C Trace Context, sections 3.2.2.3 (trace-id) and 3.2.2.4 (parent-id).
"""

from hashlib import sha256
from uuid import UUID


def trace_id(job: UUID, traceparent: str | None) -> str:
    """The 32 hex digits of the job's trace."""
    return traceparent.split("-")[1] if traceparent else job.hex


def span_id(job: UUID, version: int) -> str:
    """The 16 hex digits of the span of one event. Never all zeros, which the standard forbids."""
    digest = sha256(job.bytes + version.to_bytes(8, "big")).hexdigest()[:16]
    return digest if digest.strip("0") else "1".rjust(16, "0")


def parent_span_id(traceparent: str | None) -> str | None:
    """The client's span that the job was submitted under, None when it sent none."""
    return traceparent.split("-")[2] if traceparent else None


def traceparent_of(job: UUID, traceparent: str | None, version: int) -> str:
    """What goes along with work that the event of `version` set off."""
    return f"00-{trace_id(job, traceparent)}-{span_id(job, version)}-01"
