"""How many requests one address may send to one path, in windows of fixed length."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Final

MOST_KEYS: Final = 100_000
"""Counted at a time; beyond that nothing new is counted until the window ends."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left. `reset` is in whole seconds from now."""

    limit: int
    remaining: int
    reset: int

    @property
    def is_exceeded(self) -> bool:
        return self.remaining < 0

    def headers(self) -> dict[str, str]:
        """What every limited answer says."""
        told = {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(0, self.remaining)),
            "X-RateLimit-Reset": str(self.reset),
        }
        return {**told, "Retry-After": str(self.reset)} if self.is_exceeded else told


class RateLimit:
    """Counts by key. All keys share their windows, so that forgetting is one step."""

    def __init__(self, limit: int, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._seconds, self._monotonic = limit, seconds, monotonic
        self._ends = 0.0
        self._counts: dict[str, int] = {}

    def take(self, key: str, limit: int | None = None) -> Allowance:
        """Count one request of `key`, against `limit` where it has one of its own."""
        now = self._monotonic()
        if now >= self._ends:
            self._ends = now + self._seconds
            self._counts.clear()
        count = self._counts.get(key, 0) + 1
        if count > 1 or len(self._counts) < MOST_KEYS:
            self._counts[key] = count
        allowed = self._limit if limit is None else limit
        return Allowance(allowed, allowed - count, max(1, ceil(self._ends - now)))

    def give_back(self, key: str) -> None:
        """One request of `key` does not count after all."""
        count = self._counts.get(key, 0)
        if count > 0 and self._monotonic() < self._ends:
            self._counts[key] = count - 1
