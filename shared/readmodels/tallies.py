"""What is counted over all jobs that ever were, by workflow: how long they took, and what ended some of them.

A tally is a number under a name. `took:N` is how many jobs took at most `SECONDS[N]` and more than the bound
before it (the last: more than all), `took:us` the sum of all in microseconds; `error:CODE` is how many ended
with that error, `trigger:schedule` how many a schedule began.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Final

from shared.application.summary import JobSummary

SECONDS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
ERRORS: Final = frozenset({"policy_violation", "depth_bound"})
SUM: Final = "took:us"
SCHEDULED: Final = "trigger:schedule"


def of_beginning(job: JobSummary) -> Iterator[tuple[str, int]]:
    """What a job adds when it is accepted."""
    if job.trigger == "schedule":
        yield SCHEDULED, 1


def of_end(job: JobSummary) -> Iterator[tuple[str, int]]:
    """What a job adds when it has ended."""
    assert job.ended_at is not None
    took = max(0, int(job.ended_at) - int(job.created_at))
    yield f"took:{bisect_left(SECONDS, took / 1e6)}", 1
    yield SUM, took
    code = (job.error or {}).get("code")
    if code in ERRORS:
        yield f"error:{code}", 1


def histogram(tallies: Mapping[str, int]) -> tuple[list[tuple[str, float]], float]:
    """How many took at most each bound ("+Inf" last), and the sum in seconds, as Prometheus has them."""
    buckets: list[tuple[str, float]] = []
    below = 0
    for number, bound in enumerate([*SECONDS, float("inf")]):
        below += tallies.get(f"took:{number}", 0)
        buckets.append(("+Inf" if number == len(SECONDS) else str(bound), float(below)))
    return buckets, tallies.get(SUM, 0) / 1e6
