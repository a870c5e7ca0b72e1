"""Files in the whole system, kept in a folder: links are ours, and bodies pass through us both ways."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.contract.avtomatika.files.memory import GROWTH_BYTES, MIB, SIZE, Growth, body
from tests.support.system import CLIENT_TOKEN, System

pytestmark = [pytest.mark.connected, pytest.mark.slow]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def system(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    made = System(tmp_path_factory.mktemp("system") / "data", {"DAYBOOK_FILES_DIR": str(store)})
    try:
        asyncio.run(made.start())
        yield made
        asyncio.run(made.stop())
        assert "signature=" not in made.out.read_text()
    finally:
        made.destroy()


@pytest.fixture
async def client(system: System) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"X-Client-Token": CLIENT_TOKEN}
    async with httpx.AsyncClient(base_url=system.http, headers=headers, timeout=100) as client:
        yield client


async def files_of_a_job(system: System) -> str:
    async with system.client() as native:
        answer = await native.post("/v1/jobs", json={"skill": "nobody", "input": {}})
    assert answer.status_code == 202, answer.text
    return f"/api/v1/jobs/{answer.json()['job_id']}/files"


def kept(store: Path) -> list[str]:
    # os.walk passes over a folder that is removed meanwhile; rglob stumbles.
    return [name for _, _, names in os.walk(store) for name in names]


async def test_a_link_is_good_after_the_api_was_killed(client: httpx.AsyncClient, system: System) -> None:
    files = await files_of_a_job(system)
    assert (await client.put(f"{files}/content/a b.txt", content=b"hello")).status_code == 200
    location = (await client.get(f"{files}/download/a b.txt")).headers["location"]
    url = (await client.get(f"{files}/upload?filename=b")).json()["url"]
    await system.kill("api")
    await system.until_serving()
    async with httpx.AsyncClient(base_url=system.http, timeout=60) as anybody:
        assert (await anybody.get(location)).content == b"hello"
        assert (await anybody.put(url, content=b"x")).status_code == 200
        assert (await anybody.get(location.replace("a%20b", "b"))).status_code == 403


async def test_an_api_that_is_killed_in_an_upload_leaves_no_file(
    client: httpx.AsyncClient, system: System, store: Path
) -> None:
    files = await files_of_a_job(system)
    begun, killed = asyncio.Event(), asyncio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        async for block in body(20 * MIB):
            yield block
        begun.set()
        await killed.wait()
        yield b"x"

    putting = asyncio.create_task(client.put(f"{files}/content/half", content=stalling()))
    await begun.wait()
    await system.until(lambda: any(name.startswith("half#") for name in kept(store)), 20)
    await system.kill("api")
    killed.set()
    with pytest.raises(httpx.HTTPError):
        await putting
    await system.until_serving()
    location = (await client.get(f"{files}/download/half")).headers["location"]
    assert (await client.get(location)).status_code == 404
    assert (await client.post(f"{files.removesuffix('/files')}/cancel")).status_code == 200
    await system.until(lambda: not any(name.startswith("half") for name in kept(store)), 30)


async def test_memory_does_not_grow_with_files_that_pass_through(
    client: httpx.AsyncClient, system: System
) -> None:
    files = await files_of_a_job(system)
    await client.put(f"{files}/content/warm", content=body(12 * MIB))
    begun = time.monotonic()
    async with Growth(await system.living("api")) as up:
        answer = await client.put(f"{files}/content/big", content=body(SIZE))
        assert answer.status_code == 200
    middle, length = time.monotonic(), 0
    async with Growth(await system.living("api")) as down:
        location = (await client.get(f"{files}/download/big")).headers["location"]
        async with client.stream("GET", location) as found:
            async for chunk in found.aiter_raw():
                length += len(chunk)
    ended = time.monotonic()
    assert length == SIZE
    print(f"{SIZE // MIB} MiB: up {up.bytes / MIB:.1f} MiB in {middle - begun:.1f} s,", end=" ")
    print(f"down {down.bytes / MIB:.1f} MiB in {ended - middle:.1f} s")
    assert up.bytes < GROWTH_BYTES
    assert down.bytes < GROWTH_BYTES


async def test_memory_does_not_grow_with_a_reader_that_is_slow(
    client: httpx.AsyncClient, system: System
) -> None:
    files = await files_of_a_job(system)
    await client.put(f"{files}/content/big", content=body(SIZE))
    location = (await client.get(f"{files}/download/big")).headers["location"]
    async with Growth(await system.living("api")) as waiting, client.stream("GET", location) as found:
        chunks = found.aiter_raw()
        await anext(chunks)
        await asyncio.sleep(2)  # in which a server without backpressure would read on
    assert waiting.bytes < GROWTH_BYTES
