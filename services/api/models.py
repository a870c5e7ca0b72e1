"""What clients send to the native API. Unknown fields are refused. The OpenAPI document shows these."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

NAME_PATTERN: Final = r"\A[A-Za-z0-9_][A-Za-z0-9_.:@ -]{0,198}[A-Za-z0-9_]?\Z"

Name = Annotated[str, Meta(pattern=NAME_PATTERN, description="letters, digits and _.:@- inside, at most 200")]
Text = Annotated[str, Meta(pattern=r"\A[^\x00-\x1f\x7f]{1,200}\Z", description="no control characters")]
Seconds = Annotated[float, Meta(gt=0, le=315_360_000)]
Positive = Annotated[int, Meta(ge=1, le=1_000_000)]
Tags = dict[Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_.:/-]{1,64}\Z")], Text]


class Retry(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """How often and how patiently a failed task is tried again. What is left out keeps its default."""

    max_attempts: Annotated[int, Meta(ge=1, le=1000)] | None = None
    base_seconds: Annotated[float, Meta(ge=0, le=86_400)] | None = None
    factor: Annotated[float, Meta(ge=1, le=100)] | None = None
    cap_seconds: Annotated[float, Meta(ge=0, le=2_592_000)] | None = None
    jitter: Annotated[float, Meta(ge=0, le=1)] | None = None
    when_exhausted: Literal["fail", "quarantine"] | None = None
    quarantine: Annotated[list[str], Meta(max_length=10)] | None = None


class Concurrency(Struct, forbid_unknown_fields=True):
    """At most `limit` tasks of one `key` run at a time."""

    key: Text
    limit: Positive


class Rate(Struct, forbid_unknown_fields=True):
    """At most `limit` tasks of one `key` are released in any `per_seconds`."""

    key: Text
    limit: Positive
    per_seconds: Seconds


class SubmitJob(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A job to run: one of `workflow` and `skill`, its input, and options."""

    workflow: Name | None = None
    version: Positive | None = None
    skill: Name | None = None
    input: dict[str, Any] = {}
    urgency: Annotated[int, Meta(ge=0, le=1000)] = 500
    tags: Annotated[Tags, Meta(max_length=32)] = {}
    alias: Text | None = None
    deadline_seconds: Seconds | None = None
    dispatch_timeout_seconds: Seconds | None = None
    run_timeout_seconds: Seconds | None = None
    retry: Retry | None = None
    concurrency: Concurrency | None = None
    rate: Rate | None = None
    webhook_url: Annotated[str, Meta(max_length=2048)] | None = None
    metadata: Annotated[dict[str, Any], Meta(max_length=64)] = {}


class SubmitJobs(Struct, forbid_unknown_fields=True):
    """Many jobs at once; each is judged alone, so one bad job does not stop the others."""

    jobs: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=1000)]


class Cancel(Struct, forbid_unknown_fields=True):
    reason: Annotated[str, Meta(max_length=1000)] | None = None


class Nothing(Struct, forbid_unknown_fields=True):
    """An empty object, or no body at all."""


class Approve(Struct, forbid_unknown_fields=True):
    """A person's decision; `name` tells which wait is meant when a job has several."""

    decision: Text
    name: Text | None = None


class Signal(Struct, forbid_unknown_fields=True):
    payload: Any = None


class PublishWorkflow(Struct, forbid_unknown_fields=True):
    """A workflow's graph, as docs/api.md describes it."""

    graph: dict[str, Any]
