"""Handlers of blueprints, run in processes of their own.

A handler is somebody's Python code. It runs where it can be stopped: a handler that does not answer within
the time limit is killed with its process, a crash takes nothing else with it, and the next one gets a new
process.
"""

import asyncio
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from shared.blueprints.actions import action_of
from shared.domain.job import Action, TaskError
from shared.domain.values import Json

log = logging.getLogger(__name__)

LINE_LIMIT = 64 * 1024 * 1024


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
    """Runs the handlers of the blueprints in one folder, and of older texts of theirs, `processes` at a time.

    `time_limit_seconds` is for one run, from the moment that a process has it; loading the folder, when a
    process starts, may take `start_limit_seconds`.
    """

    def __init__(
        self,
        folder: Path | None,
        time_limit_seconds: float,
        *,
        processes: int = 1,
        start_limit_seconds: float = 30.0,
        files: Mapping[str, Any] | None = None,
    ) -> None:
        """`files` is where jobs have their files (shared.files.config), as JSON can say it; it is secret."""
        self._files = files
        self._folder = folder
        self._limit, self._start_limit = time_limit_seconds, start_limit_seconds
        self._free: asyncio.LifoQueue[_Child | None] = asyncio.LifoQueue()
        for _ in range(processes):
            self._free.put_nowait(None)
        self._children: set[_Child] = set()

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
        child = await self._free.get()
        healthy = False
        try:
            if child is None or not child.alive:
                child = await self._started()
            asked = {"call": "run", "blueprint": blueprint, "state": state, "view": view}
            if code is not None:
                asked["sha256"] = code.sha256
            try:
                said = await child.ask(asked, self._limit)
                if code is not None and "unknown" in said:
                    load = {"call": "load", "file": code.file, "source": code.text}
                    loaded = await child.ask(load, self._start_limit)
                    said = await child.ask(asked, self._limit) if blueprint in loaded["loaded"] else loaded
            except TimeoutError as late:
                text = f"blueprint {blueprint!r}, state {state!r}: no answer within {self._limit:g} s"
                raise HandlerFailed(TaskError("timeout", text, "handler_timeout")) from late
            except ChildDied as died:
                text = f"blueprint {blueprint!r}, state {state!r}: {died}"
                raise HandlerFailed(TaskError("transient", text, "handler_died")) from died
            healthy = True
        finally:
            if not healthy and child is not None:
                await self._end(child)
            self._free.put_nowait(child if healthy else None)
        return _action(said)

    async def reload(self) -> None:
        """Load the files anew for the runs to come; runs under way end as they began."""
        for _ in range(self._free.qsize()):
            child = self._free.get_nowait()
            if child is not None:
                await self._end(child)
            self._free.put_nowait(None)

    async def stop(self) -> None:
        """End all processes."""
        for child in list(self._children):
            await self._end(child)

    async def _started(self) -> "_Child":
        child = await _Child.start(self._folder)
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

    async def _end(self, child: "_Child") -> None:
        self._children.discard(child)
        await child.end()


class ChildDied(Exception):
    """The process ended without an answer."""


class _Child:
    """One process, asked one thing at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, folder: Path | None) -> "_Child":
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "daybook.blueprint.host",
            *([] if folder is None else [str(folder)]),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
        )
        return cls(process)

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def ask(self, asked: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Raises TimeoutError or ChildDied; the child is of no use then."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            async with asyncio.timeout(seconds):
                stdin.write(orjson.dumps(asked) + b"\n")
                await stdin.drain()
                line = await stdout.readline()
        except TimeoutError:  # it is an OSError too
            raise
        except (OSError, ValueError) as error:
            raise ChildDied(f"the process of the handlers broke: {error!r}") from error
        if not line.endswith(b"\n"):
            status = await self._process.wait()
            raise ChildDied(f"the process of the handlers ended with status {status}")
        said: dict[str, Any] = orjson.loads(line)
        return said

    async def end(self) -> None:
        if self.alive:
            self._process.kill()
        await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()


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
