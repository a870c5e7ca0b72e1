"""What the desk asks of those around it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

from services.dispatcher.slots import Slot
from shared.application.ports import Decision, StoredCommit
from shared.domain.graph import Graph
from shared.domain.job import Job


class Watcher(Protocol):
    """Who must know what happened to jobs: flow control, wake-ups, children, handlers."""

    def observe(self, id: UUID, events: Sequence[tuple[str, Mapping[str, Any]]]) -> None:  # noqa: A002
        """Stored events, each seen once and in order, whoever decided them."""
        ...

    def follow_up(self, slot: Slot, topics: Sequence[tuple[str, Mapping[str, Any]]] = ()) -> None:
        """The job has changed (by `topics`, if it was decided here): do what its state asks for."""
        ...

    def room(self) -> Callable[[str], bool]:
        """For one decision: may another task of this skill be released?"""
        ...


class Graphs(Protocol):
    """Where a job's workflow comes from."""

    def known(self, job: Job) -> Graph | None:
        """The graph that `job` is pinned to, if it is in memory."""
        ...

    async def fetch(self, job: Job) -> Graph:
        """The graph that `job` is pinned to. Raises DomainError when it is nowhere."""
        ...


class Keeper(Protocol):
    """Who keeps snapshots of jobs."""

    def stored(self, slot: Slot) -> None:
        """A decision about the job was stored, or the job was loaded. Takes no time that anyone waits for."""
        ...


Submit = Callable[[Decision], "tuple[asyncio.Future[int], bytes]"]
"""Store a decision: the stream sequence to come, and the SHA-256 of its last commit."""

Fold = Callable[[StoredCommit], Job]
"""The job that its first commit makes."""
