"""Handlers of blueprints, run in a process of their own.

A handler is somebody's Python code. It runs where it can be stopped: one that does not answer within the
time limit is cancelled, or killed with its process; a crash takes nothing else with it, and the next one gets
a new process.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.blueprints.actions import action_of
from shared.blueprints.child import Child, ChildDied, Interrupted
from shared.domain.job import Action, TaskError
from shared.domain.values import Json

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """A blueprint that was found: its graph and what is told beside it (to be published), and its code."""

    name: str
    graph: dict[str, Json]
    meta: dict[str, Json]
    file: str
    sha256: str
    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """The text of a file as it was when a blueprint in it was published, named by its SHA-256."""

    sha256: str
    file: str
    text: str


class HandlerFailed(Exception):
    """A handler gave no action. `error` says why, as a job records it."""

    def __init__(self, error: TaskError) -> None:
        super().__init__(error.message)
        self.error = error


class HandlerHost:
    """Runs the handlers of the blueprints in one folder, and of older texts of theirs, in one process.

    Up to `at_once` runs are under way: a coroutine that waits holds up no other. `time_limit_seconds` is for
    one run, from the moment that it begins; loading the folder, when a process starts, may take
    `start_limit_seconds`. A handler that cannot be cancelled is ended with its process: the other runs
    in it begin again in a new one, as if they had not begun.
    """

    def __init__(
        self,
        folder: Path | None,
        time_limit_seconds: float,
        *,
        at_once: int = 100,
        start_limit_seconds: float = 30.0,
        files: Mapping[str, Any] | None = None,
    ) -> None:
        """`files` is where jobs have their files (shared.files.config), as JSON can say it; it is secret."""
        self._files = files
        self._folder = folder
        self._limit, self._start_limit = time_limit_seconds, start_limit_seconds
        self._places = asyncio.Semaphore(at_once)
        self._starting, self._suspecting = asyncio.Lock(), asyncio.Lock()
        self._child: Child | None = None
        self._children: set[Child] = set()
        self._stopped = False

    async def sources(self) -> tuple[list[Source], list[str]]:
        """The blueprints of the folder, and what is wrong with others, in words. Loads the files anew."""
        child = await self._started()
        try:
            found = await child.ask({"call": "catalog"}, self._start_limit)
        except (TimeoutError, ChildDied) as error:
            raise self._unloadable(error) from error
        finally:
            await self._end(child)
        sources = [
            Source(name, entry["graph"], entry["meta"], entry["file"], entry["sha256"], entry["source"])
            for name, entry in found["blueprints"].items()
        ]
        return sources, list(found["problems"])

    async def run(
        self, blueprint: str, state: str, view: Mapping[str, Any], code: Code | None = None
    ) -> Action:
        """The action that the handler of a state chooses for a job. Raises HandlerFailed.

        With `code` it is the handler of that text, whatever the folder holds by now.
        """
        asked = {"call": "run", "blueprint": blueprint, "state": state, "view": view}
        async with self._places:
            try:
                said = await self._answer(asked, code)
            except TimeoutError as late:
                text = f"blueprint {blueprint!r}, state {state!r}: no answer within {self._limit:g} s"
                raise HandlerFailed(TaskError("timeout", text, "handler_timeout")) from late
            except ChildDied as died:
                text = f"blueprint {blueprint!r}, state {state!r}: {died}"
                raise HandlerFailed(TaskError("transient", text, "handler_died")) from died
        return _action(said)

    async def reload(self) -> None:
        """Load the files anew for the runs to come; runs under way end as they began."""
        child, self._child = self._child, None
        if child is not None and not child.busy:
            await self._end(child)

    async def stop(self) -> None:
        """End all processes."""
        self._stopped = True
        for child in list(self._children):
            await self._end(child)

    async def _answer(self, asked: dict[str, Any], code: Code | None) -> dict[str, Any]:
        """Raises TimeoutError, or ChildDied when it was this run that ended the process."""
        while True:
            child = await self._serving()
            try:
                return await self._asked(child, asked, code)
            except Interrupted as interrupted:
                if self._stopped:
                    raise
                if not interrupted.suspect:
                    continue  # another run was too late, and this one has to begin again
            finally:
                if not child.alive or (child is not self._child and not child.busy):
                    await self._end(child)
            async with self._suspecting:  # it may have been this one: alone it shows
                child = await self._started()
                try:
                    return await self._asked(child, asked, code)
                finally:
                    await self._end(child)

    async def _asked(self, child: Child, asked: dict[str, Any], code: Code | None) -> dict[str, Any]:
        asked = {**asked, "seconds": self._limit}
        if code is None:
            return await child.run(asked)
        said = await child.run({**asked, "sha256": code.sha256})
        if "unknown" not in said:
            return said
        load = {"call": "load", "file": code.file, "source": code.text}
        loaded = await child.ask(load, self._start_limit)
        if asked["blueprint"] not in loaded["loaded"]:
            return loaded
        return await child.run({**asked, "sha256": code.sha256})

    async def _serving(self) -> Child:
        async with self._starting:
            if self._child is None or not self._child.alive:
                before, self._child = self._child, None
                if before is not None:
                    await self._end(before)
                self._child = await self._started()
            return self._child

    async def _started(self) -> Child:
        child = await Child.start(self._folder)
        self._children.add(child)
        try:
            if self._files is not None:
                await child.ask({"call": "files", "config": self._files}, self._start_limit)
            await child.ask({"call": "catalog"}, self._start_limit)  # it answers when everything is loaded
        except (TimeoutError, ChildDied) as error:
            await self._end(child)
            raise self._unloadable(error) from error
        return child

    def _unloadable(self, error: Exception) -> HandlerFailed:
        text = f"the blueprints in {self._folder} cannot be loaded: {error!r}"
        return HandlerFailed(TaskError("transient", text, "handler_host"))

    async def _end(self, child: Child) -> None:
        self._children.discard(child)
        await child.end()


def _action(said: Mapping[str, Any]) -> Action:
    if "problems" in said:
        text = "; ".join(said["problems"]) or "the text has no such blueprint"
        raise HandlerFailed(TaskError("permanent", f"the blueprint cannot be loaded: {text}", "handler_host"))
    error = said.get("error")
    if error is not None:
        raise HandlerFailed(
            TaskError(error["kind"], error["message"], error.get("code"), error.get("details"))
        )
    return action_of(said["action"])
