"""What every store of files does. Subclasses bring the store."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import httpx
import pytest

from shared.application.files import (
    JOBS,
    FileMissing,
    Files,
    FileTooLarge,
    Part,
    folder_of,
    key_of,
)
from shared.application.ids import new_id

LIMIT = 32 * 1024 * 1024
MIB = 1024 * 1024


async def body(size: int, error: Exception | None = None, piece: int = 65_536) -> AsyncIterator[bytes]:
    """So many bytes, told apart by where they stand; then the error, if any."""
    block = bytes(range(256)) * (piece // 256)
    for start in range(0, size, piece):
        yield block[: min(piece, size - start)]
        await asyncio.sleep(0)
    if error is not None:
        raise error


async def read(files: Files, key: str, part: Part | None = None) -> bytes:
    content = await files.get(key, part)
    return b"".join([chunk async for chunk in content.chunks])


class FilesContract:
    """The contract."""

    @pytest.fixture
    def files(self) -> Files:
        raise NotImplementedError

    @pytest.fixture
    def job(self) -> UUID:
        return new_id()

    def left_over(self, job: UUID) -> list[str]:
        """What is kept of uploads that came to no end, by the store's own books."""
        raise NotImplementedError

    @pytest.mark.parametrize("size", [0, 1, 5 * MIB, 5 * MIB + 1, 12 * MIB + 17])
    async def test_what_was_put_is_what_is_read(self, files: Files, job: UUID, size: int) -> None:
        key = key_of(job, "a/b.bin")
        assert await files.put(key, body(size), size) == size
        assert await read(files, key) == b"".join([chunk async for chunk in body(size)])
        head, content = await files.head(key), await files.get(key)
        assert (head.size, head.key) == (size, key)
        assert (content.file.size, content.file.etag) == (size, head.etag)

    async def test_a_body_of_unknown_length_is_kept_too(self, files: Files, job: UUID) -> None:
        assert await files.put(key_of(job, "x"), body(6 * MIB)) == 6 * MIB

    @pytest.mark.parametrize(
        "name", ["a b.txt", "50%.txt", "r[1]#2b.pdf", "日本é.txt", "a&b=c+d?.txt", "a%20b"]
    )
    async def test_odd_names_are_kept_as_they_are(self, files: Files, job: UUID, name: str) -> None:
        await files.put(key_of(job, name), body(3))
        assert [file.key for file in await files.list(folder_of(job))] == [key_of(job, name)]
        assert await read(files, key_of(job, name)) == b"\0\1\2"

    async def test_a_part_is_read_alone(self, files: Files, job: UUID) -> None:
        key = key_of(job, "x")
        await files.put(key, body(1000))
        assert await read(files, key, Part(10, 20)) == bytes(range(10, 20))
        assert await read(files, key, Part(995)) == bytes(byte % 256 for byte in range(995, 1000))
        assert await read(files, key, Part(990, 5000)) == bytes(byte % 256 for byte in range(990, 1000))
        assert await read(files, key, Part(1000, 2000)) == b""

    async def test_what_is_not_there_is_missing(self, files: Files, job: UUID) -> None:
        for asked in (files.get, files.head):
            with pytest.raises(FileMissing):
                await asked(key_of(job, "x"))

    async def test_a_later_file_replaces_an_earlier_one(self, files: Files, job: UUID) -> None:
        await files.put(key_of(job, "x"), body(10))
        await files.put(key_of(job, "x"), body(3))
        assert await read(files, key_of(job, "x")) == b"\0\1\2"

    @pytest.mark.parametrize("size", [1000, 20 * MIB])
    async def test_a_body_that_breaks_off_leaves_nothing(self, files: Files, job: UUID, size: int) -> None:
        with pytest.raises(OSError, match="hung up"):
            await files.put(key_of(job, "x"), body(size, OSError("hung up")))
        assert await files.list(folder_of(job)) == []
        assert self.left_over(job) == []

    async def test_a_body_that_breaks_off_leaves_the_file_before_it(self, files: Files, job: UUID) -> None:
        await files.put(key_of(job, "x"), body(3))
        with pytest.raises(OSError, match="hung up"):
            await files.put(key_of(job, "x"), body(20 * MIB, OSError("hung up")))
        assert await read(files, key_of(job, "x")) == b"\0\1\2"

    async def test_an_upload_that_is_cancelled_leaves_nothing(self, files: Files, job: UUID) -> None:
        begun = asyncio.Event()

        async def stalling() -> AsyncIterator[bytes]:
            async for chunk in body(20 * MIB):
                yield chunk
            begun.set()
            await asyncio.sleep(3600)

        putting = asyncio.create_task(files.put(key_of(job, "x"), stalling()))
        await begun.wait()
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        assert await files.list(folder_of(job)) == []
        assert self.left_over(job) == []

    async def test_a_file_may_not_be_larger_than_the_limit(self, files: Files, job: UUID) -> None:
        with pytest.raises(FileTooLarge):
            await files.put(key_of(job, "x"), body(0), LIMIT + 1)
        with pytest.raises(FileTooLarge):
            await files.put(key_of(job, "x"), body(LIMIT + 1))
        assert await files.list(folder_of(job)) == []
        assert self.left_over(job) == []
        assert await files.put(key_of(job, "x"), body(LIMIT)) == LIMIT

    async def test_a_jobs_files_are_removed_and_no_others(self, files: Files, job: UUID) -> None:
        other = new_id()
        for name in ("x", "a/b/c"):
            await files.put(key_of(job, name), body(1))
        await files.put(key_of(other, "x"), body(1))
        assert {folder_of(job), folder_of(other)} <= set(await files.folders(JOBS))
        assert await files.delete(folder_of(job)) == 2
        assert await files.list(folder_of(job)) == []
        assert len(await files.list(folder_of(other))) == 1
        assert await files.delete(folder_of(job)) == 0

    async def test_a_link_serves_its_file_to_whoever_has_it(
        self, files: Files, job: UUID, web: httpx.AsyncClient
    ) -> None:
        key, other = key_of(job, "a b#é.txt"), key_of(job, "other")
        put = await web.put(files.link(key, "PUT", 60), content=b"hello")
        assert put.status_code == 200
        link = files.link(key, "GET", 60)
        assert (await web.get(link)).content == b"hello"
        assert (await web.put(link, content=b"x")).status_code == 403
        assert (await web.get(link.partition("?")[0])).status_code == 403
        assert (await web.get(link[:-4] + "AAAA")).status_code == 403
        moved = files.link(other, "GET", 60).partition("?")[0] + "?" + link.partition("?")[2]
        assert (await web.get(moved)).status_code == 403
        assert (await web.get(files.link(other, "GET", 60))).status_code == 404
