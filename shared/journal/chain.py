"""The hash chain: each commit names the SHA-256 of the stored bytes of the commit before it."""

from collections.abc import Iterable
from hashlib import sha256

import msgspec

from shared.application.ports import BrokenChain, StoredCommit


def tip_of(raw: bytes) -> bytes:
    """What the next commit of the aggregate must name as its `prev`."""
    return sha256(raw).digest()


def prev_of(raw: bytes) -> bytes | None:
    """The hash that a stored commit names as that of the one before it."""
    prev = _HEAD.decode(raw).prev
    return bytes.fromhex(prev) if prev is not None else None


def verify(commits: Iterable[StoredCommit], version: int = 0, tip: bytes | None = None) -> bytes | None:
    """Check that `commits` of one aggregate are all of them, in order, as they were written.

    They begin at version 1, or behind a known `version` whose commit has the hash `tip`. The answer is the
    new tip, None when there are none at all. Raises BrokenChain at the first that does not follow.
    """
    for commit in commits:
        if commit.n != version + 1:
            raise BrokenChain(commit.kind, commit.id, commit.n, f"version {version + 1} is missing")
        if prev_of(commit.raw) != tip:
            raise BrokenChain(
                commit.kind, commit.id, commit.n, "it was not written after the commit before it"
            )
        tip = tip_of(commit.raw)
        version = commit.last_version
    return tip


class _Head(msgspec.Struct):
    """The one member of a stored commit that matters here; the others are skipped unread."""

    prev: str | None


_HEAD = msgspec.json.Decoder(_Head)
