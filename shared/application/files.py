"""Files of jobs: what they may be called, and the store that keeps them, as a Protocol.

A file's key is `jobs/<job id>/<name>`. Names come from strangers and become keys, paths and URLs, so a name
is refused unless it is harmless in all of them, also after a decoder or file system has normalised it.
"""

import re
import unicodedata
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, Protocol
from urllib.parse import unquote
from uuid import UUID

Method = Literal["GET", "PUT"]

JOBS: Final = "jobs/"
"""What every key of a job's file begins with."""
NAME_BYTES: Final = 900
"""In UTF-8; an S3 key has at most 1024 with what stands before the name."""
SEGMENT_BYTES: Final = 240
"""Between slashes. File systems take 255, and a store may write beside before it renames."""
LONGEST_LINK_SECONDS: Final = 7 * 86_400
"""What S3 signs for at most."""

RECORDED: Final = "daybook.file_operation"
"""The name of the event by which a job's history tells of a file that its handler moved."""


class FilesError(Exception):
    """A file could not be kept or read.

    FilesError
    ├── UnsafeName         no file may be called that
    ├── FileMissing        there is none of that name
    ├── FileTooLarge       it is larger than files may be; nothing of it is kept
    └── StoreFailed        the store did not do it; nothing of a file is left half
    """


class UnsafeName(FilesError):
    """No file may be called that. Send another name; `why` says what is wrong with this one."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class FileMissing(FilesError):
    """There is no file of that name (any more)."""


class FileTooLarge(FilesError):
    """A file may have `limit` bytes and no more."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"a file may have {limit} bytes at most")
        self.limit = limit


class StoreFailed(FilesError):
    """The store refused or did not answer. Its words are for the log, not for clients."""


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes `start` up to, not including, `end`; None means to the last."""

    start: int
    end: int | None = None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that is there, and what it weighs."""

    key: str
    size: int
    modified: datetime
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """A file, or the part of it that was asked for, as it comes. `start` and `end` say which bytes."""

    file: StoredFile
    start: int
    end: int
    chunks: AsyncIterator[bytes] = field(repr=False)


class Files(Protocol):
    """A store of files. Every method raises StoreFailed when the store does not do it."""

    @property
    def bucket(self) -> str:
        """What stands behind `s3://` in the URI of its files."""
        ...

    async def put(self, key: str, chunks: AsyncIterable[bytes], size: int | None = None) -> int:
        """Keep a file, replacing an older one when all of it is there; how many bytes it has.

        Memory does not grow with the file. Whatever stops it, an exception of `chunks`, a cancellation or
        the store, no part of the file is left. Raises FileTooLarge, also for a `size` that is announced,
        UnsafeName where files that are there leave no room for that name, and what `chunks` raises.
        """
        ...

    async def get(self, key: str, part: Part | None = None) -> Content:
        """A file as it comes. Raises FileMissing. A part that begins behind the end has no bytes."""
        ...

    async def head(self, key: str) -> StoredFile:
        """What is known of a file. Raises FileMissing."""
        ...

    def link(self, key: str, method: Method, seconds: int) -> str:
        """A URL by which whoever has it may do that one thing with that one file, for so long.

        It is a secret. One without a host is meant from the root of our own server.
        """
        ...

    async def list(self, prefix: str) -> Sequence[StoredFile]:
        """All files whose key begins with the prefix, which must end in a slash."""
        ...

    async def folders(self, prefix: str) -> Sequence[str]:
        """The prefixes one level below that hold files, each with its slash."""
        ...

    async def delete(self, prefix: str) -> int:
        """Remove all files whose key begins with the prefix, which must end in a slash; how many."""
        ...


def folder_of(job: UUID) -> str:
    """The prefix of all files of a job."""
    return f"{JOBS}{job}/"


def key_of(job: UUID, name: str) -> str:
    """The key of a job's file. Raises UnsafeName."""
    return folder_of(job) + safe_name(name)


def safe_name(name: str) -> str:
    """The name, composed (NFC), if a file may be called so. Raises UnsafeName.

    Slashes make folders. What a name may not have: `.`, `..` or nothing between slashes, a backslash, control
    characters, characters that are not seen or turn the direction of writing, a device's name of Windows;
    nor may it become such a name when look-alikes are taken for what they look like (NFKC), or when
    percent signs are decoded once more.
    """
    if not name:
        raise UnsafeName("it is empty")
    if len(name) > NAME_BYTES:
        raise UnsafeName(f"it is longer than {NAME_BYTES} bytes")
    for character in name:
        if unicodedata.category(character) in _UNSEEN and character not in _JOINERS:
            raise UnsafeName(f"it has the character U+{ord(character):04X}")
    if _REPLACED in name:
        raise UnsafeName("it is not UTF-8")
    composed = unicodedata.normalize("NFC", name)
    if len(composed.encode()) > NAME_BYTES:
        raise UnsafeName(f"it is longer than {NAME_BYTES} bytes")
    plain = unicodedata.normalize("NFKC", composed).translate(_SLASHES)
    for form in (plain, unquote(plain), unquote(unquote(plain))):
        if form.count("/") != composed.count("/") or "\\" in form:
            raise UnsafeName("it has a backslash, or what becomes a slash")
        for segment in form.split("/"):
            _check_meaning(segment)
    for segment in composed.split("/"):
        _check(segment)
    return composed


def _check(segment: str) -> None:
    if len(segment.encode()) > SEGMENT_BYTES:
        raise UnsafeName(f"a folder or file in it is longer than {SEGMENT_BYTES} bytes")
    if segment != segment.strip() or segment.endswith("."):
        raise UnsafeName("a folder or file in it begins or ends with a space, or ends with a dot")
    if _STAGED.search(segment):
        raise UnsafeName("a folder or file in it ends with # and a number")


def _check_meaning(segment: str) -> None:
    if segment.strip() in ("", ".", ".."):
        raise UnsafeName("between slashes it has nothing, or dots alone")
    if _DEVICE.fullmatch(segment.partition(".")[0].strip()) or _DRIVE.match(segment):
        raise UnsafeName("it has the name of a device")
    if "\0" in segment:
        raise UnsafeName("it has the character U+0000")


_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS: Final = "\u200c\u200d"
"""Persian and emoji cannot be written without them."""
_REPLACED: Final = "\ufffd"
"""What decoders put in the place of bytes that are not UTF-8."""
_SLASHES: Final = str.maketrans("\u2044\u2215\u29f8\u2571\u2216\u29f5", "////\\\\")
_DEVICE: Final = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])", re.IGNORECASE)
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_STAGED: Final = re.compile(r"#[0-9]+$")
"""So the store in a folder calls what is not complete."""
