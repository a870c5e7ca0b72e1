"""Which workflow an endpoint runs."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

from shared.application.endpoint_names import endpoint_of
from shared.application.ports import Journal, JournalError, StoredCommit

log = logging.getLogger(__name__)

AGAIN_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 0.2
"""How long somebody waits for an endpoint that may be published just now."""

Key = tuple[str, str | None, str]


class Endpoints:
    """The endpoints of all workflows, by (tenant, version or None, endpoint). `run` keeps them up to date."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._names: dict[Key, str] = {}
        self._keys: dict[tuple[str, str], Key] = {}
        self._changed = asyncio.Event()

    async def find(self, tenant: str, version: str | None, endpoint: str) -> str | None:
        """The workflow's name, None when there is none, also after a moment."""
        key = (tenant, version, endpoint.strip("/"))
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while key not in self._names:
                    await self._changed.wait()
        except TimeoutError:
            return None
        return self._names[key]

    def of(self, tenant: str) -> list[tuple[str | None, str, str]]:
        """(version, endpoint, workflow) of a tenant, in order."""
        found = [(key[1], key[2], name) for key, name in self._names.items() if key[0] == tenant]
        return sorted(found, key=lambda each: (each[0] or "", each[1]))

    async def run(self) -> None:
        """Follow the workflows from the beginning, for ever."""
        after = 0
        while True:
            try:
                async for commits in self._journal.follow(after, ("workflow",)):
                    for commit in commits:
                        self.learn(commit)
                        after = commit.sequence
            except JournalError as error:
                log.warning("cannot follow the endpoints: %s", error)
                await asyncio.sleep(AGAIN_SECONDS)
                after = 0

    def learn(self, commit: StoredCommit) -> None:
        """Take in what happened to one workflow."""
        for topic, data in commit.events:
            if topic == "WorkflowPublished":
                self._publish(data)
            elif topic == "WorkflowDeleted":
                self._forget(data)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _publish(self, data: Mapping[str, Any]) -> None:
        tenant, name = data.get("tenant", ""), data["name"]
        before = self._keys.pop((tenant, name), None)
        if before is not None and self._names.get(before) == name:
            del self._names[before]
        endpoint = endpoint_of(data["graph"])
        if endpoint is None:
            return
        key = (tenant, *endpoint)
        other = self._names.get(key)
        if other is not None:
            log.warning("%s takes the endpoint %s of %s", name, endpoint[1], other)
        self._names[key] = name
        self._keys[tenant, name] = key

    def _forget(self, data: Mapping[str, Any]) -> None:
        """A deletion names nothing: the definition answers that the workflow is gone."""
