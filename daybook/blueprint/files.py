"""`task_files`: a job's files as its handlers read and write them.

A file is kept in the store under the job's id; a handler works on copies in a folder of the job's own, which
may be gone at the next handler: what is to last is uploaded. Every transfer goes into the job's history.
"""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit
from uuid import UUID

import orjson

from shared.application.files import (
    LONGEST_LINK_SECONDS,
    Files,
    FilesError,
    UnsafeName,
    folder_of,
    key_of,
    safe_name,
)
from shared.files.folder import remove_tree

READ_BYTES: Final = 1024 * 1024


class IntegrityError(FilesError):
    """A file is not the one that was promised: its size or ETag is another."""


class TaskFiles:
    """The files of one job. Names are those of the job's own files; `s3://bucket/key` names any other.

    A name with a slash at its end is a folder, transferred with all that is in it.
    """

    def __init__(
        self, files: Files, job: UUID, folder: Path, record: Callable[[Mapping[str, Any]], None]
    ) -> None:
        """`folder` holds the folders of all jobs; `record` is told of each transfer."""
        self._files, self._job, self._record = files, job, record
        self.local_dir = folder / str(job)

    def path(self, filename: str) -> Path:
        """Where the copy of a file is or may be written; its folder is there. Raises UnsafeName."""
        name = filename.rpartition("/")[2] if "://" in filename else filename.strip("/")
        path = self.local_dir / safe_name(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def generate_presigned_url(
        self, filename: str, method: Literal["GET", "PUT"] = "GET", expires_in: int = 3600
    ) -> str:
        """A link by which whoever has it can read or write that file, for so many seconds."""
        if method not in ("GET", "PUT") or not 1 <= expires_in <= LONGEST_LINK_SECONDS:
            raise ValueError(f"a link is for GET or PUT, for 1 to {LONGEST_LINK_SECONDS} seconds")
        return self._files.link(self._key(filename), method, expires_in)

    async def download(
        self,
        name_or_uri: str,
        local_name: str | None = None,
        verify_meta: Mapping[str, Any] | None = None,
    ) -> Path:
        """Fetch a file or a folder; where the copy is. Raises FileMissing, IntegrityError, FilesError.

        `verify_meta` may say the `size` and `etag` that the file must have.
        """
        key = self._resolved(name_or_uri)
        own = key.removeprefix(folder_of(self._job))
        target = self.path(local_name or (own if own != key else key.rstrip("/").rpartition("/")[2]))
        if not key.endswith("/"):
            content = await self._fetch(key, target, verify_meta or {})
            self._told("download", key, **content)
            return target
        found = await self._files.list(key)
        for file in found:
            await self._fetch(file.key, target / safe_name(file.key.removeprefix(key)), {})
        self._told("download_dir", key, file_count=len(found))
        return target

    async def upload(self, local_name: str, remote_name: str | None = None) -> str:
        """Keep the copy of a file, or all of a folder, in the store; its URI. Raises FileNotFoundError."""
        local, name = self.path(local_name), (remote_name or local_name).strip("/")
        if local.is_dir():
            copies = sorted(path for path in local.rglob("*") if path.is_file())
            for copy in copies:
                await self._send(copy, key_of(self._job, f"{name}/{copy.relative_to(local).as_posix()}"))
            key = key_of(self._job, name) + "/"
            self._told("upload_dir", key, file_count=len(copies))
        else:
            key = key_of(self._job, name)
            await self._send(local, key)
            await self._told_upload(key)
        return self._uri(key)

    async def upload_stream(self, filename: str, stream: AsyncIterable[bytes]) -> str:
        """Keep what comes from `stream`, without a copy on disk; the file's URI."""
        key = self._key(filename)
        await self._files.put(key, stream)
        await self._told_upload(key)
        return self._uri(key)

    async def read_text(self, name_or_uri: str) -> str:
        """A file's text, in UTF-8; it is downloaded when there is no copy."""
        return (await self._read(name_or_uri)).decode()

    async def read_json(self, name_or_uri: str) -> Any:
        """The value of a JSON file; it is downloaded when there is no copy."""
        return orjson.loads(await self._read(name_or_uri))

    async def write_json(self, filename: str, data: Any, upload: bool = True) -> str:
        """Write a value as JSON, and upload it unless told not to; its URI, `file://…` if only written."""
        path = self.path(filename)
        path.write_bytes(orjson.dumps(data))
        return await self.upload(filename) if upload else path.as_uri()

    async def write_text(self, filename: str, text: str, upload: bool = True) -> Path:
        """Write a text in UTF-8, and upload it unless told not to; where the copy is."""
        path = self.path(filename)
        path.write_text(text, encoding="utf-8")
        if upload:
            await self.upload(filename)
        return path

    async def cleanup(self) -> None:
        """Remove all of the job's files from the store, and their copies."""
        await self._files.delete(folder_of(self._job))
        remove_tree(self.local_dir)

    async def _read(self, name_or_uri: str) -> bytes:
        key = self._resolved(name_or_uri)
        own = key.removeprefix(folder_of(self._job))
        copy = self.path(own if own != key else key.rpartition("/")[2])
        if not copy.is_file():
            await self.download(name_or_uri)
        return copy.read_bytes()

    async def _fetch(self, key: str, target: Path, promised: Mapping[str, Any]) -> dict[str, Any]:
        content = await self._files.get(key)
        known = {"size": content.file.size, "etag": content.file.etag}
        for name, value in known.items():
            if promised.get(name) not in (None, value):
                raise IntegrityError(f"{key}: its {name} is {value!r}, not {promised[name]!r}")
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(target.name + "#0")  # no file may be called so
        with draft.open("wb") as out:
            async for chunk in content.chunks:
                out.write(chunk)
        draft.replace(target)
        return {name: value for name, value in known.items() if value is not None}

    async def _send(self, copy: Path, key: str) -> None:
        size = copy.stat().st_size  # noqa: ASYNC240 (a handler has its process to itself)
        await self._files.put(key, _blocks(copy), size)

    async def _told_upload(self, key: str) -> None:
        file = await self._files.head(key)
        self._told("upload", key, size=file.size, **({} if file.etag is None else {"etag": file.etag}))

    def _told(self, operation: str, key: str, **more: Any) -> None:
        self._record({"operation": operation, "s3_uri": self._uri(key), **more})

    def _key(self, filename: str) -> str:
        return key_of(self._job, filename.strip("/"))

    def _uri(self, key: str) -> str:
        return f"s3://{self._files.bucket}/{key}"

    def _resolved(self, name_or_uri: str) -> str:
        """The key of a name, or of a URI in our bucket. Raises UnsafeName."""
        if "://" not in name_or_uri:
            return self._key(name_or_uri) + ("/" if name_or_uri.endswith("/") else "")
        uri = urlsplit(name_or_uri)
        if uri.scheme != "s3" or uri.netloc != self._files.bucket:
            raise UnsafeName(f"{name_or_uri[:200]!r} is not in s3://{self._files.bucket}")
        # Not urlsplit's path: a name may have a question mark.
        key = name_or_uri.removeprefix(f"s3://{self._files.bucket}/")
        return safe_name(key.rstrip("/")) + ("/" if key.endswith("/") else "")


async def _blocks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as source:
        while block := source.read(READ_BYTES):
            yield block
