"""Percentiles and medians of measured runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of an ascending sequence; `share` is 0..1. Raises ValueError when empty.

    Nearest rank answers a value that was measured, never one between two.
    """
    if not ordered:
        raise ValueError("no values")
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class Latency(msgspec.Struct, frozen=True):
    """A distribution of waits in milliseconds, over `count` of them."""

    count: int
    p50: float
    p95: float
    p99: float
    longest: float


def latency(seconds: Sequence[float]) -> Latency:
    """The distribution of waits given in seconds, in any order. Raises ValueError when there is none."""
    ordered = sorted(seconds)
    p50, p95, p99 = (percentile(ordered, share) * 1e3 for share in (0.50, 0.95, 0.99))
    return Latency(len(ordered), p50, p95, p99, ordered[-1] * 1e3)


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle run of several, and the least and greatest of them."""

    median: float
    least: float
    greatest: float


def spread(values: Sequence[float]) -> Spread:
    """Of an even number of runs the lower middle one. Raises ValueError when there is none."""
    ordered = sorted(values)
    return Spread(percentile(ordered, 0.5), ordered[0], ordered[-1])
