"""What every job of a blueprint has, whoever asks for it: a client, or a schedule."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shared.application.definitions import Definition
from shared.domain.job.spec import JobSpec
from shared.domain.job.walk import MAX_DEPTH
from shared.domain.metadata import RESULT_TIMEOUT
from shared.domain.values import Json

ORIGIN: Final = "avtomatika"
"""How these jobs are told from others."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the server bounds such jobs by: how often a failed task is tried again, how many seconds one may
    run in a job without a deadline, how deep jobs may be nested.
    """

    max_retries: int
    run_seconds: float
    max_depth: int


def spec_of(
    definition: Definition,
    bounds: Bounds,
    now_us: int,
    *,
    workflow: str,
    input: Json,  # noqa: A002 (the word of the domain)
    tenant: str,
    owner: str,
    tags: dict[str, str],
    said: Mapping[str, Json],
    kept: Mapping[str, Json],
    dispatch_timeout: float | None,
    result_timeout: float | None,
    max_transitions: int,
    policy: dict[str, Json] | None = None,
    webhook_url: str | None = None,
    trace: str | None = None,
    trigger: str = "api",
) -> JobSpec:
    """The job in the domain's words. `said` is the metadata of who asks, `kept` what the server keeps beside
    it, None for nothing. Time-outs are seconds; the job ends `result_timeout` after `now_us`.
    """
    own = {**kept, RESULT_TIMEOUT: result_timeout}
    metadata = {**said, **{name: value for name, value in own.items() if value is not None}}
    return JobSpec(
        workflow=workflow,
        version=definition.version,
        definition=definition.hash,
        input=input,
        tenant=tenant,
        owner=owner,
        tags=tags,
        origin=ORIGIN,
        deadline=None if result_timeout is None else now_us + round(result_timeout * 1_000_000),
        dispatch_timeout=dispatch_timeout,
        run_timeout=bounds.run_seconds if result_timeout is None else None,
        retry=_attempts(bounds.max_retries),
        webhook_url=webhook_url,
        trace=trace,
        metadata=metadata or None,
        trigger=trigger,
        policy=policy,
        max_transitions=max_transitions,
        max_depth=None if bounds.max_depth == MAX_DEPTH else bounds.max_depth,
    )


def _attempts(max_retries: int) -> dict[str, Json]:
    """A failed task is tried again at once, then the job is set aside."""
    return {
        "max_attempts": max_retries + 1,
        "base_seconds": 0,
        "when_exhausted": "quarantine",
        "quarantine": ["permanent", "contract_violation"],
    }
