"""A TOML file of tables with tokens, that is read again when it changes."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from shared.settings import UnusableFile

LOOK_SECONDS: Final = 1.0
"""Between two looks at the file."""


class TokenFile:
    """Its tables, by name. `unusable` is the error that its readers know."""

    def __init__(self, file: Path, clock: Callable[[], float], unusable: type[UnusableFile]) -> None:
        self.path = file
        self._clock, self._unusable = clock, unusable
        self._looked, self._seen = clock(), _stamp(file)

    def tables(self) -> dict[str, Any]:
        """What it says now. Raises the error that was given."""
        self._seen = _stamp(self.path)
        try:
            return tomllib.loads(self.path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise self._unusable(f"{self.path}: {error}") from error

    def has_changed(self) -> bool:
        """Whether it is another one than was read last. It is looked at once a second at most."""
        now = self._clock()
        if 0 <= now - self._looked < LOOK_SECONDS:
            return False
        self._looked = now
        return _stamp(self.path) != self._seen


def _stamp(file: Path) -> tuple[int, int, int]:
    """What changes when the file does; zeros when it is gone."""
    try:
        found = file.stat()
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_mtime_ns, found.st_size
