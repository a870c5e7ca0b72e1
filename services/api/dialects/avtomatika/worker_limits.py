"""How often one worker may call: by what it asks, its name and its credential, so that neighbours behind one
address do not share, and nobody uses up another's.

Results are never limited: one that is refused is lost after a few tries. A poll that was answered with work
counts for nothing, or a worker could not do more than `polls` tasks in a window.
"""

from hashlib import sha256
from typing import Final

from services.api.dialects.avtomatika.limits import RateLimit
from shared.settings import Settings

FREE: Final = frozenset({"result"})


class TooOften(Exception):
    """Come again in `seconds`."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"again in {seconds} s")
        self.seconds = seconds


class WorkerLimits:
    """The windows of all workers that call this process."""

    def __init__(self, settings: Settings) -> None:
        enabled, seconds = settings.rate_limiting_enabled, settings.rate_limit_seconds
        self._rate = RateLimit(settings.rate_limit, seconds) if enabled else None
        self._own = {"heartbeat": settings.rate_limit_heartbeats, "poll": settings.rate_limit_polls}

    def take(self, kind: str, worker: str | None, token: str | None) -> None:
        """Count one call. Raises TooOften."""
        if self._rate is None or kind in FREE:
            return
        allowance = self._rate.take(_key(kind, worker, token), self._own.get(kind))
        if allowance.is_exceeded:
            raise TooOften(allowance.reset)

    def give_back(self, kind: str, worker: str | None, token: str | None) -> None:
        """The call does not count after all."""
        if self._rate is not None:
            self._rate.give_back(_key(kind, worker, token))


def _key(kind: str, worker: str | None, token: str | None) -> str:
    credential = sha256((token or "").encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return f"{kind} {(worker or '')[:200]} {credential}"
