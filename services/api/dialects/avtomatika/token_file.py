"""A TOML file of tables with tokens, that is read again when it changes."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from shared.file_stamp import stamp_of
from shared.settings import UnusableFile

LOOK_SECONDS: Final = 1.0
"""Between two looks at the file."""


class TokenFile:
    """Its tables, by name. `unusable` is the error that its readers know."""

    def __init__(self, file: Path, clock: Callable[[], float], unusable: type[UnusableFile]) -> None:
        self.path = file
        self._clock, self._unusable = clock, unusable
        self._looked, self._seen = clock(), stamp_of(file)

    def tables(self) -> dict[str, Any]:
        """What it says now. Raises the error that was given."""
        self._seen = stamp_of(self.path)
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
        return stamp_of(self.path) != self._seen
