"""The store on obstore: S3, or a folder that behaves alike.

A body up to one part is sent in one request; a larger one as a multipart upload (in a folder: written beside
and renamed), with few parts in memory at a time. Either is there whole or not at all.
"""

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from shared.application.files import (
    Content,
    FileMissing,
    Files,
    FileTooLarge,
    Method,
    Part,
    StoredFile,
    StoreFailed,
    UnsafeName,
)
from shared.files.folder import READ_BYTES, clash, content_of, remove_tree
from shared.files.handoff import BLOCK_BYTES, Handoff, joined, write_all
from shared.files.links import Links

PART_BYTES: Final = 5 * 1024 * 1024
"""The smallest part that S3 takes, and so the least memory for an upload."""
MOST_PARTS: Final = 9_000
"""S3 takes 10,000; larger files have larger parts."""
PARTS_AT_ONCE: Final = 2


class ObjectFiles(Files):
    """One bucket, or one folder. `links` signs what a folder cannot; None leaves it to the bucket."""

    def __init__(
        self,
        store: S3Store | LocalStore,
        bucket: str,
        limit: int,
        *,
        concurrency: int = 100,
        links: Links | None = None,
        folder: Path | None = None,
    ) -> None:
        self._store, self._bucket, self._limit = store, bucket, limit
        self._links, self._folder = links, folder
        self._room = asyncio.Semaphore(concurrency)

    @property
    def bucket(self) -> str:
        return self._bucket

    async def put(self, key: str, chunks: AsyncIterable[bytes], size: int | None = None) -> int:
        why = await self._refused(key)
        if why is not None:
            raise UnsafeName(why)
        if size is not None and size > self._limit:
            raise FileTooLarge(self._limit)
        expected = self._limit if size is None else size
        part = max(PART_BYTES, -(-expected // MOST_PARTS))
        blocks = aiter(joined(_bounded(chunks, self._limit), BLOCK_BYTES))
        async with self._room:
            first, whole = await _beginning(blocks, PART_BYTES)
            if whole:
                # Not to be cut off: a request that is under way may or may not be carried out.
                await _to_its_end(self._put_at_once(key, first))
                length = len(first)
            else:
                counted, handoff = _Counted(_after(first, blocks)), Handoff()
                writing = asyncio.ensure_future(self._put_in_parts(key, handoff, part))
                await write_all(counted, handoff, writing)
                length = counted.bytes
        if self._folder is not None:
            await asyncio.to_thread(_sync, self._folder / key)
        return length

    async def _refused(self, key: str) -> str | None:
        return None if self._folder is None else await asyncio.to_thread(clash, self._folder, key)

    async def get(self, key: str, part: Part | None = None) -> Content:
        async with self._room, _told():
            if self._folder is not None:
                return await content_of(self._folder, key, part)
            if part is None:
                found = await obstore.get_async(self._store, key)
                file = _stored(found.meta)
                return Content(file, 0, file.size, self._stream(found))
            file = _stored(await obstore.head_async(self._store, key))
            end = file.size if part.end is None else min(part.end, file.size)
            if part.start >= end:
                return Content(file, part.start, part.start, _nothing())
            options: Any = {"range": (part.start, end)}
            found = await obstore.get_async(self._store, key, options=options)
            return Content(file, part.start, end, self._stream(found))

    async def head(self, key: str) -> StoredFile:
        try:
            async with self._room, _told():
                return _stored(await obstore.head_async(self._store, key))
        except StoreFailed as error:
            if await self._refused(key) is None:
                raise
            raise FileMissing("there is no such file") from error

    def link(self, key: str, method: Method, seconds: int) -> str:
        if self._links is not None:
            return self._links.made(key, method, seconds)
        assert isinstance(self._store, S3Store), "a folder comes with links"
        return obstore.sign(self._store, method, key, timedelta(seconds=seconds))

    async def list(self, prefix: str) -> Sequence[StoredFile]:
        async with self._room, _told():
            found = await obstore.list(self._store, prefix).collect_async()
        return [_stored(meta) for meta in found]

    async def folders(self, prefix: str) -> Sequence[str]:
        async with self._room, _told():
            found = await obstore.list_with_delimiter_async(self._store, prefix)
        return [f"{folder}/" for folder in found["common_prefixes"]]

    async def delete(self, prefix: str) -> int:
        keys = [file.key for file in await self.list(prefix)]
        async with self._room, _told():
            if self._folder is not None:
                # With the folders, and what a killed process left beside.
                await asyncio.to_thread(remove_tree, self._folder / prefix)
            elif keys:
                await obstore.delete_async(self._store, keys)
        return len(keys)

    async def _put_at_once(self, key: str, body: bytes) -> None:
        async with _told():
            await obstore.put_async(self._store, key, body, use_multipart=False)

    async def _put_in_parts(self, key: str, handoff: Handoff, part: int) -> None:
        async with _told():
            await obstore.put_async(self._store, key, handoff, chunk_size=part, max_concurrency=PARTS_AT_ONCE)

    async def _stream(self, found: Any) -> AsyncIterator[bytes]:
        async with _told():
            async for chunk in found.stream(min_chunk_size=READ_BYTES):
                yield bytes(chunk)


class _Counted:
    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks, self.bytes = chunks, 0

    def __aiter__(self) -> "_Counted":
        return self

    async def __anext__(self) -> bytes:
        chunk = await anext(self._chunks)
        self.bytes += len(chunk)
        return chunk


async def _bounded(chunks: AsyncIterable[bytes], limit: int) -> AsyncIterator[bytes]:
    length = 0
    async for chunk in chunks:
        length += len(chunk)
        if length > limit:
            raise FileTooLarge(limit)
        yield chunk


async def _beginning(blocks: AsyncIterator[bytes], size: int) -> tuple[bytes, bool]:
    """At least `size` bytes, or all that there are, and whether it is all."""
    parts: list[bytes] = []
    length = 0
    async for block in blocks:
        parts.append(block)
        length += len(block)
        if length > size:
            return b"".join(parts), False
    return b"".join(parts), True


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for block in rest:
        yield block


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield


async def _to_its_end(doing: Coroutine[Any, Any, None]) -> None:
    """Wait for the end of it, and only then tell of a cancellation."""
    task = asyncio.ensure_future(doing)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def _sync(file: Path) -> None:
    """What is told to be kept survives a power cut: the file, and its name in the folder."""
    for path in (file, file.parent):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _stored(meta: Any) -> StoredFile:
    etag = meta["e_tag"]
    return StoredFile(meta["path"], meta["size"], meta["last_modified"], etag and etag.strip('"'))


@asynccontextmanager
async def _told() -> AsyncIterator[None]:
    """The library's errors as ours. Their text may hold what a store says of a request; it is for the log."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise FileMissing("there is no such file") from error
    except (BaseError, OSError, ValueError) as error:
        raise StoreFailed(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}") from error
