"""`task_files`: what a handler can do with the files of its job, and what of it is recorded."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from daybook import Blueprint
from daybook.blueprint.actions import Actions
from daybook.blueprint.files import IntegrityError, TaskFiles
from shared.application.clock import now_seconds
from shared.application.files import FileMissing, Files, UnsafeName, folder_of, key_of
from shared.application.ids import new_id
from shared.files.config import FilesConfig
from shared.files.opening import open_files


class World:
    """A store in a folder, a job, and what was recorded."""

    def __init__(self, folder: Path) -> None:
        config = FilesConfig(
            "files", 10_000, 10, str(folder / "work"), folder=str(folder / "store"), link_key=b"k"
        )
        self.work, self.job = folder / "work", new_id()
        self.store: Files = open_files(config, now_seconds)
        self.recorded: list[Any] = []
        self.files = self.of(self.job)

    def of(self, job: UUID) -> TaskFiles:
        return TaskFiles(self.store, job, self.work, self.recorded.append)

    def uri(self, name: str, job: UUID | None = None) -> str:
        return f"s3://files/{folder_of(job or self.job)}{name}"

    async def put(self, name: str, content: bytes = b"hello", job: UUID | None = None) -> None:
        await self.store.put(key_of(job or self.job, name), once(content))

    async def names(self) -> list[str]:
        prefix = folder_of(self.job)
        return sorted(file.key.removeprefix(prefix) for file in await self.store.list(prefix))


async def once(content: bytes) -> AsyncIterator[bytes]:
    yield content


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_what_is_written_is_uploaded_and_read_again(world: World) -> None:
    files = world.files
    assert await files.write_json("a/b.json", {"x": 1}) == world.uri("a/b.json")
    path = await files.write_text("c.txt", "grüße")
    assert path == files.local_dir / "c.txt"
    assert await world.names() == ["a/b.json", "c.txt"]
    path.unlink()
    assert await files.read_text("c.txt") == "grüße"
    assert await files.read_json(world.uri("a/b.json")) == {"x": 1}
    assert [(told["operation"], told["s3_uri"]) for told in world.recorded] == [
        ("upload", world.uri("a/b.json")),
        ("upload", world.uri("c.txt")),
        ("download", world.uri("c.txt")),
    ]
    assert world.recorded[0]["size"] == 7


async def test_what_is_only_written_stays_a_copy(world: World) -> None:
    assert (await world.files.write_json("a.json", [], upload=False)).startswith("file://")
    await world.files.write_text("b.txt", "x", upload=False)
    assert await world.names() == []
    assert world.recorded == []
    assert await world.files.upload("b.txt", "other/name.txt") == world.uri("other/name.txt")
    assert await world.names() == ["other/name.txt"]


async def test_a_folder_is_moved_with_all_that_is_in_it(world: World) -> None:
    for name in ("in/a", "in/deep/b", "other"):
        await world.put(name, name.encode())
    folder = await world.files.download("in/", "here")
    assert folder == world.files.local_dir / "here"
    assert (folder / "deep" / "b").read_text() == "in/deep/b"
    assert await world.files.upload("here", "out") == world.uri("out/")
    assert await world.names() == ["in/a", "in/deep/b", "other", "out/a", "out/deep/b"]
    assert [(told["operation"], told["file_count"]) for told in world.recorded] == [
        ("download_dir", 2),
        ("upload_dir", 2),
    ]


async def test_a_uri_names_any_file_of_the_bucket_and_of_no_other(world: World) -> None:
    other = new_id()
    await world.put("x.txt", b"theirs", other)
    assert (await world.files.download(world.uri("x.txt", other))).read_text() == "theirs"
    for uri in ("s3://elsewhere/x.txt", "file:///etc/passwd", "s3://files/../../etc/passwd", "s3://files//x"):
        with pytest.raises(UnsafeName):
            await world.files.download(uri)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "..", "a\\..\\x", "a\0b"])
async def test_no_name_leads_out_of_the_jobs_folder(world: World, name: str) -> None:
    files = world.files
    for attempt in (
        files.download(name),
        files.upload(name),
        files.read_text(name),
        files.write_text(name, "x"),
        files.upload_stream(name, once(b"x")),
        files.download("x", name),
    ):
        with pytest.raises(UnsafeName):
            await attempt
    with pytest.raises(UnsafeName):
        files.path(name)
    with pytest.raises(UnsafeName):
        files.generate_presigned_url(name)
    assert not list(world.work.rglob("x"))


async def test_a_file_that_is_not_the_promised_one_is_refused(world: World) -> None:
    await world.put("x")
    etag = (await world.store.head(key_of(world.job, "x"))).etag
    await world.files.download("x", verify_meta={"size": 5, "etag": etag})
    for promised in ({"size": 6}, {"etag": "other"}):
        (world.files.local_dir / "x").unlink(missing_ok=True)
        with pytest.raises(IntegrityError):
            await world.files.download("x", verify_meta=promised)
        assert not (world.files.local_dir / "x").exists()


async def test_what_is_not_there_is_said_to_be_missing(world: World) -> None:
    with pytest.raises(FileMissing):
        await world.files.download("nope")
    with pytest.raises(FileNotFoundError):
        await world.files.upload("nope")
    assert world.recorded == []


def test_a_link_is_for_get_or_put_and_some_time(world: World) -> None:
    assert "method=PUT" in world.files.generate_presigned_url("x", "PUT", 60)
    for method, seconds in (("DELETE", 60), ("GET", 0), ("GET", 604_801)):
        with pytest.raises(ValueError, match="a link is"):
            world.files.generate_presigned_url("x", method, seconds)  # type: ignore[arg-type]  # what is wrong


async def test_cleanup_removes_the_files_and_their_copies_and_no_others(world: World) -> None:
    other = new_id()
    await world.put("x", job=other)
    await world.files.write_text("a/x", "x")
    await world.files.cleanup()
    assert await world.names() == []
    assert not world.files.local_dir.exists()
    assert len(await world.store.list(folder_of(other))) == 1


def test_what_a_handler_moved_goes_with_its_action(world: World) -> None:
    bp = Blueprint("b")

    @bp.handler(is_start=True, is_end=True)
    async def s(task_files: TaskFiles) -> None:
        await task_files.write_text("a.txt", "abc")

    def opened(view: Any, actions: Actions) -> TaskFiles:
        return TaskFiles(world.store, UUID(view["job_id"]), world.work, actions.moved_file)

    action = bp.run_handler("s", {"job_id": str(world.job), "input": {}}, files=opened)
    (event,) = action["events"]
    assert event["name"] == "daybook.file_operation"
    assert (event["payload"]["operation"], event["payload"]["size"]) == ("upload", 3)
