"""One process that runs handlers, asked several things at a time. Its side: daybook/blueprint/host.py."""

import asyncio
import sys
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any, Final, Self

import orjson

LINE_LIMIT: Final = 64 * 1024 * 1024
CANCEL_SECONDS: Final = 1.0
"""What a coroutine has to end in after it was cancelled, before its process is killed."""


class ChildDied(Exception):
    """The process ended without an answer."""


class Interrupted(ChildDied):
    """The process ended while several runs were under way. `suspect`: perhaps because of this one."""

    def __init__(self, why: str, *, suspect: bool) -> None:
        super().__init__(why)
        self.suspect = suspect


class _Asked:
    """A call that is not answered yet. `seconds` are for a run from when it begins."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.timer: asyncio.TimerHandle | None = None

    def give(self, said: dict[str, Any]) -> None:
        self._over()
        if not self.answer.done():
            self.answer.set_result(said)

    def fail(self, problem: Exception) -> None:
        self._over()
        if not self.answer.done():
            self.answer.set_exception(problem)

    def _over(self) -> None:
        if self.timer is not None:
            self.timer.cancel()


class Child:
    """One process. Made by `Child.start`; of no use once a call failed with TimeoutError or ChildDied."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = count(1)
        self._asked: dict[int, _Asked] = {}
        self._killed = False
        self._reading = asyncio.get_running_loop().create_task(self._read())

    @classmethod
    async def start(cls, folder: Path | None) -> Self:
        """A process that loads the folder now; it answers when that is done."""
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
        return self._process.returncode is None and not self._killed and not self._reading.done()

    @property
    def busy(self) -> bool:
        """Whether somebody waits for an answer."""
        return bool(self._asked)

    async def ask(self, asked: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """The answer to a call that is no run, in so many seconds. Raises TimeoutError, ChildDied."""
        return await self._ask(asked, seconds, at_once=True)

    async def run(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What came of a run. Raises TimeoutError when it took longer than its `seconds`, ChildDied when
        it ended the process, Interrupted when that may have been another.
        """
        said = await self._ask(asked, asked["seconds"], at_once=False)
        if "late" in said:
            raise TimeoutError
        return said

    async def end(self) -> None:
        """Kill it, and whatever runs in it."""
        self._kill()
        await asyncio.wait({self._reading})
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def _ask(self, call: Mapping[str, Any], seconds: float, *, at_once: bool) -> dict[str, Any]:
        stdin = self._process.stdin
        assert stdin is not None
        number = next(self._numbers)
        asked = self._asked[number] = _Asked(seconds)
        try:
            if not self.alive:
                raise Interrupted("the process of the handlers has ended", suspect=False)
            if at_once:
                self._limit(asked, seconds)
            try:
                stdin.write(orjson.dumps({**call, "id": number}) + b"\n")
                await stdin.drain()
            except OSError:
                pass  # it ended: reading tells how
            return await asked.answer
        finally:
            del self._asked[number]
            asked.give({})  # its timer ends

    def _limit(self, asked: _Asked, seconds: float) -> None:
        if asked.timer is not None:
            asked.timer.cancel()
        asked.timer = asyncio.get_running_loop().call_later(seconds, self._late, asked)

    def _late(self, asked: _Asked) -> None:
        asked.fail(TimeoutError())
        self._kill()

    def _kill(self) -> None:
        self._killed = True
        if self._process.returncode is None:
            self._process.kill()

    async def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        why = "the process of the handlers ended"
        try:
            while (line := await stdout.readline()).endswith(b"\n"):
                self._hear(orjson.loads(line))
        except ValueError as error:  # longer than the limit, or no JSON
            why = f"the process of the handlers broke: {error!r}"
            self._process.kill()
        status = await self._process.wait()
        waiting = [asked for asked in self._asked.values() if not asked.answer.done()]
        for asked in waiting:
            if self._killed or len(waiting) > 1:
                asked.fail(Interrupted(f"{why} with status {status}", suspect=not self._killed))
            else:
                asked.fail(ChildDied(f"{why} with status {status}"))

    def _hear(self, said: dict[str, Any]) -> None:
        asked = self._asked.get(said.pop("id"))
        if asked is None:
            return
        begun = said.get("begun")
        if begun is None:
            asked.give(said)
        else:
            self._limit(asked, asked.seconds + (CANCEL_SECONDS if begun == "coroutine" else 0.0))
