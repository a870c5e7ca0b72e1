"""What the projector can be asked, on `projector.command`:
{"command": "status" | "verify" | "rebuild" | "empty"}.

The answers are messages on the reply subject. The last one has `"done": true` and `"ok": true`, or
`"ok": false` with an `"error"`.

`status` tells {"position", "last_sequence", "lag", "poisoned", "rebuilding"}. While they work, `verify` and
`rebuild` tell {"done": false, "phase", "position", "target"} some times a second, and in the end {"equal",
"position", "digest", "served_digest", "difference", "swapped", "seconds"}: whether the store that was served
and the one built anew are equal, and if not the first row that differs. `verify` throws the new one away.
`empty` throws the served one away at once and begins anew: for a journal that was emptied.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

import msgspec
import orjson

from services.projector.project import Projector
from shared.application.ports import Journal
from shared.broker.connection import Connection
from shared.readmodels.database import Database
from shared.readmodels.rebuild import Progress, rebuild

COMMANDS = "projector.command"

log = logging.getLogger(__name__)


class Request(msgspec.Struct):
    """What somebody asks for."""

    command: str


class RebuildRuns(Exception):
    """Another rebuild is not done yet."""


class Commands:
    """Answers one after the other; only one rebuild runs at a time."""

    def __init__(self, connection: Connection, database: Database, journal: Journal, live: Projector) -> None:
        self._connection = connection
        self._database, self._journal, self._live = database, journal, live
        self._tasks: set[asyncio.Task[None]] = set()
        self._rebuilding = False
        self._subscription = 0

    async def open(self) -> None:
        """Answer from now on."""
        self._subscription = await self._connection.listen(COMMANDS, self._on_request, queue="projector")

    async def close(self) -> None:
        """Answer no more; a rebuild that runs is given up."""
        await self._connection.unlisten(self._subscription)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _on_request(self, subject: bytes, reply: bytes, header: bytes, payload: bytes) -> None:
        if reply:
            task = asyncio.create_task(self._answer(reply.decode(), payload))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, reply: str, payload: bytes) -> None:
        async def say(answer: dict[str, Any]) -> None:
            await self._connection.publish(reply, orjson.dumps(answer))

        try:
            command = msgspec.json.decode(payload, type=Request).command
            work = self._works().get(command)
            if work is None:
                raise msgspec.ValidationError(f"no command is called {command[:40]!r}")
            answer = {"done": True, "ok": True, **await work(say)}
        except msgspec.DecodeError as error:
            answer = {"done": True, "ok": False, "error": str(error)}
        except asyncio.CancelledError:
            await say({"done": True, "ok": False, "error": "the projector stops"})
            raise
        except RebuildRuns as error:
            answer = {"done": True, "ok": False, "error": str(error)}
        except Exception as error:
            # The one who asked is told whatever it was; the projector goes on.
            log.exception("a command failed")
            answer = {"done": True, "ok": False, "error": f"{type(error).__name__}: {error}"}
        await say(answer)

    def _works(
        self,
    ) -> dict[str, Callable[[Callable[[dict[str, Any]], Awaitable[None]]], Awaitable[dict[str, Any]]]]:
        return {
            "status": self._status,
            "verify": lambda say: self._rebuild(say, swap=False),
            "rebuild": lambda say: self._rebuild(say, swap=True),
            "empty": self._empty,
        }

    async def _status(self, say: object) -> dict[str, Any]:
        last, position = await self._journal.last_sequence(), self._live.position
        return {
            "position": position,
            "last_sequence": last,
            "lag": max(0, last - position),
            "poisoned": self._live.poisoned,
            "rebuilding": self._rebuilding,
        }

    async def _empty(self, say: object) -> dict[str, Any]:
        await self._live.start_over()
        return {}

    async def _rebuild(
        self, say: Callable[[dict[str, Any]], Awaitable[None]], *, swap: bool
    ) -> dict[str, Any]:
        if self._rebuilding:
            raise RebuildRuns("a rebuild runs already")

        async def tell(progress: Progress) -> None:
            await say(
                {
                    "done": False,
                    "phase": progress.phase,
                    "position": progress.done,
                    "target": progress.target,
                }
            )

        self._rebuilding = True
        try:
            result = await rebuild(self._database, self._journal, self._live, tell, swap=swap)
        finally:
            self._rebuilding = False
        log.info("rebuilt to %d: %s", result.position, "equal" if result.equal else result.difference)
        return {
            "equal": result.equal,
            "position": result.position,
            "digest": result.rebuilt_digest,
            "served_digest": result.served_digest,
            "difference": asdict(result.difference) if result.difference else None,
            "swapped": result.swapped,
            "seconds": round(result.seconds, 3),
        }
