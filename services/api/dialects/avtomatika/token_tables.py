"""Tokens in headers, and in a table of a TOML file: itself, or its SHA-256, by any of its known names."""

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

HASHES: Final = ("token_hash", "token_sha256")
MARK: Final = "sha256:"
"""Before the hash where it stands instead of the token."""
NAMES: Final = frozenset({"token", *HASHES})


def token_digest(table: Mapping[str, object]) -> bytes:
    """The SHA-256 of the token. Raises ValueError, without its words, unless the table says exactly one."""
    said = [(name, table[name]) for name in ("token", *HASHES) if table.get(name) is not None]
    if len(said) != 1 or not isinstance(said[0][1], str) or not said[0][1]:
        raise ValueError("it needs a token, which is a string, or token_sha256")
    ((name, value),) = said
    text = str(value)
    if name == "token" and not text.startswith(MARK):
        return sha256(text.encode()).digest()
    if _HASH.fullmatch(text.removeprefix(MARK)) is None:
        raise ValueError(f"{name} is not 64 hex digits")
    return bytes.fromhex(text.removeprefix(MARK))


def token_of_header(value: bytes) -> str:
    """The token in a header. Most clients send letters outside ASCII as UTF-8, some as Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


_HASH: Final = re.compile(r"[0-9A-Fa-f]{64}")
