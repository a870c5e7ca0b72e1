"""A store whose operations are counted and timed by whoever wants to know."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter

from shared.application.files import (
    Content,
    Files,
    Method,
    Part,
    StoredFile,
    StoreFailed,
)

Note = Callable[[str, str, float], None]
"""Told the operation, "success" or "error", and the seconds it took."""


class ObservedFiles(Files):
    """The store behind it. Only what the store does not do is an error: a file that is missing, too large or
    ill named, and a client that hangs up, are no operation of it at all.
    """

    def __init__(self, files: Files, note: Note) -> None:
        self._files, self._note = files, note

    @property
    def bucket(self) -> str:
        return self._files.bucket

    async def put(self, key: str, chunks: AsyncIterable[bytes], size: int | None = None) -> int:
        with self._noted("upload"):
            return await self._files.put(key, chunks, size)

    async def get(self, key: str, part: Part | None = None) -> Content:
        begun = perf_counter()
        with self._noted("download", only_errors=True):
            content = await self._files.get(key, part)
        return replace(content, chunks=self._read(content.chunks, begun))

    async def head(self, key: str) -> StoredFile:
        with self._noted("head"):
            return await self._files.head(key)

    def link(self, key: str, method: Method, seconds: int) -> str:
        return self._files.link(key, method, seconds)

    async def list(self, prefix: str) -> Sequence[StoredFile]:
        with self._noted("list"):
            return await self._files.list(prefix)

    async def folders(self, prefix: str) -> Sequence[str]:
        with self._noted("list"):
            return await self._files.folders(prefix)

    async def delete(self, prefix: str) -> int:
        with self._noted("delete"):
            return await self._files.delete(prefix)

    async def _read(self, chunks: AsyncIterator[bytes], begun: float) -> AsyncIterator[bytes]:
        """A download is over when the last byte was taken."""
        with self._noted("download", begun):
            async for chunk in chunks:
                yield chunk

    @contextmanager
    def _noted(
        self, operation: str, begun: float | None = None, *, only_errors: bool = False
    ) -> Iterator[None]:
        begun = perf_counter() if begun is None else begun
        try:
            yield
        except StoreFailed:
            self._note(operation, "error", perf_counter() - begun)
            raise
        if not only_errors:
            self._note(operation, "success", perf_counter() - begun)
