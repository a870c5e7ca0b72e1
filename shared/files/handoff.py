"""Blocks from the task that reads a body to the library that writes it, one at a time.

The library's future must not be cancelled in the middle of a block: it would go on with an iterator whose
loop is gone. So the reading side never cancels it; it hands over an exception, at which the library aborts
what it has begun, and waits for that.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

BLOCK_BYTES = 1024 * 1024
"""Small bodies' pieces are joined to this: crossing into the library costs more than copying."""


class Handoff:
    """What the writing side iterates over."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue(1)

    def __aiter__(self) -> "Handoff":
        return self

    async def __anext__(self) -> bytes:
        item = await self._queue.get()
        if item is None:
            raise StopAsyncIteration
        if isinstance(item, BaseException):
            raise item
        return item

    async def give(self, block: bytes | None) -> None:
        """Hand a block over when the one before was taken; None is the end."""
        await self._queue.put(block)

    def fail(self, error: Exception) -> None:
        """Hand over an exception at once, in the place of what was not taken."""
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(error)


class Stopped(Exception):
    """The reading side has no more: what is written so far is to be thrown away."""


async def write_all(blocks: AsyncIterable[bytes], handoff: Handoff, writing: "asyncio.Future[T]") -> T:
    """Give all blocks to what writes from the hand-off, and return what it answers.

    Raises what `blocks` raises, or the write, or CancelledError, always after the write has come to its end.
    """
    try:
        async for block in blocks:
            await _unless(handoff.give(block), writing)
        await _unless(handoff.give(None), writing)
        await asyncio.wait({writing})
    except BaseException:
        handoff.fail(Stopped("the body ended early"))
        await _ended(writing)
        raise
    return writing.result()


async def _unless(giving: Coroutine[Any, Any, None], writing: "asyncio.Future[T]") -> None:
    """Wait for `giving`; when the write has ended instead, raise what it raised."""
    task = asyncio.ensure_future(giving)
    waits: set[asyncio.Future[Any]] = {task, writing}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        task.cancel()
    if writing.done() and not writing.cancelled() and (error := writing.exception()) is not None:
        raise error


async def _ended(writing: "asyncio.Future[T]") -> None:
    """Wait for the end of the write, however often this task is cancelled meanwhile."""
    while not writing.done():
        try:
            await asyncio.wait({writing})
        except asyncio.CancelledError:
            continue  # the one that led here is raised when the write has ended
    if not writing.cancelled():
        writing.exception()  # it has been looked at: it is the one that was handed over


async def joined(chunks: AsyncIterable[bytes], size: int) -> AsyncIterator[bytes]:
    """The same bytes in blocks of at least `size`, but for the last."""
    parts: list[bytes] = []
    length = 0
    async for chunk in chunks:
        if chunk:
            parts.append(chunk)
            length += len(chunk)
        if length >= size:
            yield b"".join(parts)
            parts, length = [], 0
    if parts:
        yield b"".join(parts)
