"""The parent's end of the load generator."""

import subprocess
import sys
from types import TracebackType
from typing import Self

import msgspec

from benchmarks.commands import Command, Ran, Reply
from benchmarks.errors import LoadFailed


class LoadGenerator:
    """A running `python -m benchmarks.load`. Closed by leaving the `with`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def run(self, command: Command) -> Ran:
        """Blocks until the command is done. Raises LoadFailed, also when a single job failed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(command) + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise LoadFailed(f"the load generator ended with status {self._process.wait()}")
        reply = msgspec.json.decode(line, type=Reply)
        if reply.ran is None:
            raise LoadFailed(reply.refused.error if reply.refused else "no answer")
        if reply.ran.failed or not reply.ran.done:
            raise LoadFailed(f"{reply.ran.failed} jobs failed; the first: {reply.ran.failure}")
        return reply.ran

    def close(self) -> None:
        """Idempotent."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
