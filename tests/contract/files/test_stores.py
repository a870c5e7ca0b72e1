"""The contract of stores, on a folder and on a real S3 server."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from msgspec.structs import replace

from services.api.file_links import FileLinks
from shared.application.clock import now_seconds
from shared.application.files import Files, StoreFailed, folder_of, key_of
from shared.application.ids import new_id
from shared.files.config import FilesConfig
from shared.files.opening import open_files, open_links
from tests.contract.files.contract import LIMIT, MIB, FilesContract, body
from tests.support.s3 import ACCESS_KEY, BUCKET, SECRET_KEY, S3Server, s3_server


class TestFolder(FilesContract):
    @pytest.fixture
    def config(self, tmp_path: Path) -> FilesConfig:
        folder = str(tmp_path / "store")
        return FilesConfig("files", LIMIT, 10, str(tmp_path / "work"), folder=folder, link_key=b"k" * 32)

    @pytest.fixture
    def files(self, config: FilesConfig) -> Files:
        self.folder = Path(config.folder)
        return open_files(config, now_seconds)

    @pytest.fixture
    async def web(self, config: FilesConfig, files: Files) -> AsyncIterator[httpx.AsyncClient]:
        links = open_links(config, now_seconds)
        assert links is not None
        transport = httpx.ASGITransport(app=FileLinks(files, links))
        async with httpx.AsyncClient(transport=transport, base_url="http://daybook") as client:
            yield client

    def left_over(self, job: UUID) -> list[str]:
        return [str(path) for path in self.folder.rglob("*") if path.is_file()]

    async def test_a_file_that_is_replaced_is_read_to_its_own_end(self, files: Files, job: UUID) -> None:
        await files.put(key_of(job, "x"), body(3 * MIB))
        content = await files.get(key_of(job, "x"))
        length = len(await anext(content.chunks))
        await files.put(key_of(job, "x"), body(1))
        assert length + sum([len(chunk) async for chunk in content.chunks]) == 3 * MIB

    async def test_what_a_killed_process_left_goes_with_the_job(self, files: Files, job: UUID) -> None:
        await files.put(key_of(job, "a/x"), body(1))
        (self.folder / folder_of(job) / "a" / "y#1").write_bytes(b"half")
        assert len(await files.list(folder_of(job))) == 1
        await files.delete(folder_of(job))
        assert self.left_over(job) == []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.mark.slow
@pytest.mark.connected
class TestS3(FilesContract):
    @pytest.fixture
    def config(self, server: S3Server, tmp_path: Path) -> FilesConfig:
        return FilesConfig(
            BUCKET,
            LIMIT,
            10,
            str(tmp_path),
            endpoint=server.endpoint,
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
            region="us-east-1",
        )

    @pytest.fixture
    async def files(self, config: FilesConfig, server: S3Server) -> Files:
        self.server = server
        files = open_files(config, now_seconds)
        await files.put(key_of(new_id(), "first"), body(1))  # so that there is a bucket
        return files

    @pytest.fixture
    async def web(self) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(timeout=60) as client:
            yield client

    def left_over(self, job: UUID) -> list[str]:
        return self.server.unfinished()

    async def test_an_upload_under_way_is_seen_by_the_servers_own_books(
        self, files: Files, job: UUID
    ) -> None:
        """Else `left_over` would be empty whatever happens."""
        seen = []

        async def looking() -> AsyncIterator[bytes]:
            async for chunk in body(20 * MIB):
                yield chunk
            seen.extend(self.server.unfinished())

        await files.put(key_of(job, "x"), looking())
        assert seen
        assert self.server.unfinished() == []

    async def test_a_wrong_secret_is_refused_and_the_answer_tells_no_secret(
        self, config: FilesConfig, files: Files, job: UUID
    ) -> None:
        stranger = open_files(replace(config, secret_key="another"), now_seconds)
        with pytest.raises(StoreFailed) as refused:
            await stranger.put(key_of(job, "x"), body(1))
        assert "another" not in str(refused.value)
        assert SECRET_KEY not in repr(config)
        async with httpx.AsyncClient(timeout=60) as web:
            answer = await web.put(stranger.link(key_of(job, "x"), "PUT", 60), content=b"x")
        assert answer.status_code == 403
        assert await files.list(folder_of(job)) == []

    async def test_a_store_that_is_not_there_is_an_error_soon(self, config: FilesConfig, job: UUID) -> None:
        nowhere = open_files(replace(config, endpoint="http://127.0.0.1:9"), now_seconds)
        for size in (1, 12 * MIB):
            with pytest.raises(StoreFailed):
                await nowhere.put(key_of(job, "x"), body(size))
        with pytest.raises(StoreFailed):
            await nowhere.list(folder_of(job))
