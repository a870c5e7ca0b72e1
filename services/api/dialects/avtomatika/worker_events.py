"""What workers tell of while they work: progress, and events of their own. Over HTTP and sockets alike."""

import logging
from typing import Final

from services.api.dialects.avtomatika.task_ids import key_of
from services.api.dialects.avtomatika.worker_auth import Denied
from services.api.dialects.avtomatika.worker_contracts import breach
from services.api.dialects.avtomatika.worker_models import Event
from services.api.dialects.avtomatika.worker_translation import REASONS, VIOLATION, progress_of
from services.api.gateway.gateway import Gateway
from services.api.gateway.reports import ReportRefused

log = logging.getLogger(__name__)

PROGRESS: Final = "progress"


class EventRefused(Exception):
    """The event cannot be understood, or breaks its skill's promise: then `code` says so."""

    def __init__(self, text: str, code: str | None = None) -> None:
        super().__init__(text)
        self.code = code


class Events:
    """Passes events on to the jobs that they are about."""

    def __init__(self, gateway: Gateway, *, strict: bool = True) -> None:
        """`strict`: an event that breaks its skill's schema is refused, not only logged."""
        self._gateway, self._strict = gateway, strict

    async def take(self, event: Event, worker: str) -> dict[str, str]:
        """The answer to `event` of `worker`. Raises EventRefused, Denied, DispatcherSilent."""
        if event.worker_id not in (None, worker):
            raise Denied(
                403, f"Forbidden: '{worker}' cannot tell of events of '{event.worker_id}'", "identity"
            )
        named = event.target_task_id or event.origin_task_id
        if named is None:
            return dict(_ACCEPTED)  # about the worker itself
        key = key_of(named)
        if key is None:
            raise EventRefused(f"task {named} is not known")
        payload = event.payload or {}
        problem = breach(self._gateway, worker, self._gateway.held(key), event.event_type, payload)
        if problem is not None and self._strict:
            raise EventRefused(f"event {event.event_type!r} breaks its schema: {problem}", VIOLATION)
        if problem is not None:
            log.warning("event %r of worker %s breaks its schema: %s", event.event_type, worker, problem)
        try:
            if event.event_type == PROGRESS:
                verdict = await self._gateway.progress(key, worker, *progress_of(payload))
            else:
                verdict = await self._gateway.event(
                    key, worker, event.event_type, payload, event.event_id or ""
                )
        except (ValueError, ReportRefused) as problem:
            raise EventRefused(str(problem)) from problem
        if verdict.accepted:
            return dict(_ACCEPTED)
        if verdict.reason == "foreign":
            raise Denied(403, f"Forbidden: another worker holds task {named}", "identity")
        return {"status": "ignored", "reason": REASONS.get(verdict.reason or "", "stale")}


_ACCEPTED: Final = {"status": "event_accepted"}
