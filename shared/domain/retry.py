"""When a failed task is tried again, and what happens when it is not."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Final, Literal

from shared.domain.errors import InvalidValue
from shared.domain.values import ERROR_KINDS, LONGEST_SECONDS, Json

RETRYABLE: Final = frozenset({"transient", "timeout"})
_OLDER_NAMES: Final = {"base": "base_seconds", "cap": "cap_seconds"}


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon a task is tried again.

    `jitter` is the part of the wait that is left to chance (0 none, 1 all of it); `quarantine` lists kinds
    of error that quarantine the job at once. Definitions and events may say `base` and `cap`, the older
    names of `base_seconds` and `cap_seconds`.
    """

    max_attempts: int = 4
    base_seconds: float = 1.0
    factor: float = 2.0
    cap_seconds: float = 300.0
    jitter: float = 0.5
    when_exhausted: Literal["fail", "quarantine"] = "fail"
    quarantine: tuple[str, ...] = ()

    @staticmethod
    def of(*layers: Mapping[str, Json] | None) -> "RetryPolicy":
        """The policy that the layers say together; a later layer wins, field by field.

        Raises InvalidValue for a field that is unknown or out of its range.
        """
        merged: dict[str, Json] = {}
        for layer in layers:
            for name, value in layer.items() if layer else ():
                field = _OLDER_NAMES.get(name, name)
                if layer and field != name and field in layer:
                    raise InvalidValue(f"retry: {name} and {field} are the same field")
                merged[field] = value
        if not merged:
            return DEFAULT
        kinds = merged.get("quarantine")
        if isinstance(kinds, list | tuple):
            merged["quarantine"] = tuple(kinds)  # type: ignore[assignment]  # hashable, for the cache
        try:
            return _policy(tuple(sorted(merged.items())))
        except TypeError as error:
            raise InvalidValue(f"retry: {error}") from error

    def retries(self, kind: str, attempt: int) -> bool:
        """Whether attempt number `attempt`, which failed with `kind`, is followed by another."""
        return kind in RETRYABLE and attempt < self.max_attempts and kind not in self.quarantine

    def quarantines(self, kind: str) -> bool:
        """Whether a task that failed for good with `kind` puts its job into quarantine."""
        return kind in self.quarantine or (kind in RETRYABLE and self.when_exhausted == "quarantine")

    def wait_before(self, attempt: int, chance: float) -> timedelta:
        """How long to wait before `attempt` (2 is the first retry); `chance` is uniform in 0..1.

        min(cap_seconds, base_seconds * factor^(attempt-2)), of which the part `jitter` is multiplied by
        `chance`: with jitter 1 this is "full jitter", with 0.5 "equal jitter".
        Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
        """
        try:
            longest = min(self.cap_seconds, self.base_seconds * self.factor ** (attempt - 2))
        except OverflowError:
            longest = self.cap_seconds
        return timedelta(seconds=longest * (1.0 - self.jitter + self.jitter * chance))


DEFAULT: Final = RetryPolicy()


@lru_cache(maxsize=1024)
def _policy(fields: tuple[tuple[str, Json], ...]) -> RetryPolicy:
    policy = RetryPolicy(**dict(fields))  # type: ignore[arg-type]  # checked below
    for name in ("base_seconds", "factor", "cap_seconds", "jitter"):
        value = getattr(policy, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LONGEST_SECONDS:
            raise InvalidValue(
                f"retry: {name} must be a number from 0 to {LONGEST_SECONDS:.0f}, not {value!r}"
            )
    if isinstance(policy.max_attempts, bool) or not isinstance(policy.max_attempts, int):
        raise InvalidValue(f"retry: max_attempts must be a whole number, not {policy.max_attempts!r}")
    if policy.max_attempts < 1:
        raise InvalidValue("retry: max_attempts must be at least 1")
    if policy.jitter > 1:
        raise InvalidValue("retry: jitter must be between 0 and 1")
    if policy.when_exhausted not in ("fail", "quarantine"):
        raise InvalidValue(f"retry: when_exhausted must be fail or quarantine, not {policy.when_exhausted!r}")
    kinds: object = policy.quarantine  # whatever the layers said
    if not isinstance(kinds, tuple) or any(kind not in ERROR_KINDS for kind in kinds):
        raise InvalidValue(f"retry: quarantine must be a list of {', '.join(ERROR_KINDS)}")
    return policy
