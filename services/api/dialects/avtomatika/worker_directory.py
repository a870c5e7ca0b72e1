"""The workers that speak HTTP with this process, as the dialect's clients see them."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from services.api.dialects.avtomatika.worker_auth import WorkerAuth
from services.api.gateway.gateway import Gateway


class WorkerDirectory(Protocol):
    """The workers that speak HTTP with this process."""

    def registrations(self) -> Sequence[Mapping[str, Any]]:
        """What each said of itself: its registration merged with its last heartbeat, without secrets."""
        ...

    def reload(self) -> bool:
        """Read the file of the workers' tokens again; False when none is configured. Raises UnusableFile,
        keeping what was known.
        """
        ...


class NoWorkers:
    """Nobody speaks HTTP here."""

    def registrations(self) -> Sequence[Mapping[str, Any]]:
        return []

    def reload(self) -> bool:
        return False


class HttpWorkers:
    """Those behind the gateway."""

    def __init__(self, gateway: Gateway, auth: WorkerAuth) -> None:
        self._gateway, self._auth = gateway, auth

    def registrations(self) -> list[Mapping[str, Any]]:
        """What each said of itself: its registration and its last heartbeat, without secrets."""
        return [
            {
                **view.words,
                "worker_id": view.name,
                "status": view.status,
                "usage": dict(view.usage),
                "current_tasks": list(view.listed),
                "reputation": round(view.reputation, 3),
                "_internal_load": view.running,
            }
            for view in self._gateway.roster.workers()
        ]

    def reload(self) -> bool:
        """Read the file of the workers' tokens again; False when none is configured."""
        return self._auth.reload()
