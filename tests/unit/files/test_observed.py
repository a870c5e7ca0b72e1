"""What is counted of a store's operations."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import cast

import pytest

from shared.application.clock import now_seconds
from shared.application.files import StoreFailed
from shared.application.ids import new_id
from shared.files.config import FilesConfig
from shared.files.observed import ObservedFiles
from shared.files.opening import open_files

MIB = 1024 * 1024
KEY = f"jobs/{new_id()}/x"


class GoneError(Exception):
    """The client hung up."""


async def body(blocks: int, end: Exception | None = None) -> AsyncIterator[bytes]:
    for _ in range(blocks):
        yield bytes(MIB)
    if end is not None:
        raise end


@pytest.fixture
def noted() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def files(tmp_path: Path, noted: list[tuple[str, str]]) -> ObservedFiles:
    config = FilesConfig("files", 9 * MIB, 10, str(tmp_path / "work"), folder=str(tmp_path / "store"))
    return ObservedFiles(
        open_files(config, now_seconds), lambda operation, status, _: noted.append((operation, status))
    )


async def test_an_operation_that_is_done_is_a_success(
    files: ObservedFiles, noted: list[tuple[str, str]]
) -> None:
    await files.put(KEY, body(3))
    content = await files.get(KEY)
    assert sum([len(chunk) async for chunk in content.chunks]) == 3 * MIB
    assert noted == [("upload", "success"), ("download", "success")]


async def test_a_client_that_hangs_up_is_no_error_of_the_store(
    files: ObservedFiles, noted: list[tuple[str, str]]
) -> None:
    await files.put(KEY, body(3))
    noted.clear()
    with pytest.raises(GoneError):
        await files.put(KEY, body(1, GoneError()))
    content = await files.get(KEY)
    async with aclosing(cast(AsyncGenerator[bytes], content.chunks)) as chunks:
        await anext(chunks)
    assert noted == []


async def test_what_the_store_does_not_do_is_its_error(
    files: ObservedFiles, noted: list[tuple[str, str]], tmp_path: Path
) -> None:
    await files.put(KEY, body(3))
    content = await files.get(KEY)
    await anext(content.chunks)
    next((tmp_path / "store").rglob("x")).open("w").close()  # somebody empties it
    with pytest.raises(StoreFailed):
        await anext(content.chunks)
    assert noted == [("upload", "success"), ("download", "error")]
