"""How many requests of this month each client has used, kept in a file over restarts.

Counting is in memory; the file follows within a second, so a crash forgets at most a second of use. Each API
process counts for itself.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

import orjson

log = logging.getLogger(__name__)

WRITE_SECONDS: Final = 1.0


class Quotas:
    """Requests used, by client, in the month that is now."""

    def __init__(self, file: Path | None, now: Callable[[], datetime]) -> None:
        """`file` None keeps nothing."""
        self._file, self._now = file, now
        self._month, self._used = _read(file)
        self._dirty = False

    def take(self, client: str, limit: int) -> bool:
        """Use one request; False, and nothing is used, when none is left."""
        month = self._now().strftime("%Y-%m")
        if month != self._month:
            self._month, self._used = month, {}
        used = self._used.get(client, 0)
        if used >= limit:
            return False
        self._used[client] = used + 1
        self._dirty = True
        return True

    async def keep(self) -> None:
        """Write what changes until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(WRITE_SECONDS)
                self.write()
        finally:
            self.write()

    def write(self) -> None:
        if not self._dirty or self._file is None:
            return
        self._dirty = False
        draft = self._file.with_suffix(".new")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(orjson.dumps({"month": self._month, "used": self._used}))
            draft.replace(self._file)
        except OSError as error:
            self._dirty = True
            log.error("the quotas cannot be kept: %s", error)
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)


def _read(file: Path | None) -> tuple[str, dict[str, int]]:
    if file is None:
        return "", {}
    try:
        stored = orjson.loads(file.read_bytes())
        return str(stored["month"]), {str(name): int(used) for name, used in stored["used"].items()}
    except FileNotFoundError:
        return "", {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        log.error("the quotas cannot be read and begin anew: %s", error)
        return "", {}
