"""Files that survive a power cut: either the old text or the new one is there, never half of it.

Without this a file that was replaced may be found empty: the new name can reach the disk before the bytes.
"""

import os
from contextlib import suppress
from pathlib import Path


def replace(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write the file anew, at once for everybody who reads it, and on the disk when this returns.

    `mode` is that of a new file before the process's mask. Raises OSError; then the old file is there still.
    """
    draft = path.with_name(path.name + ".new")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with suppress(OSError):  # a full disk must not stay fuller
            draft.unlink(missing_ok=True)
        raise
    settle(path.parent)


def settle(path: Path) -> None:
    """Return when what the file holds, or which names the folder holds, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
