"""What is seen of a file from outside."""

from pathlib import Path


def stamp_of(file: Path | None) -> tuple[int, int, int]:
    """What changes when the file does: zeros when it is gone, or there is none."""
    try:
        state = None if file is None else file.stat()
    except OSError:
        state = None
    return (0, 0, 0) if state is None else (state.st_ino, state.st_mtime_ns, state.st_size)
