"""Links to files that are in a folder of ours: signed, for one method and one key, until a moment.

/_files/<key>?expires=<seconds since the epoch>&method=GET&signature=<HMAC-SHA256, base64>
"""

import hmac
import os
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

from shared.application.files import Method

SEGMENT: Final = "_files"
"""The first segment of the paths of such links."""


class Links:
    """Makes and checks them. One key gives the same links in all processes, also after a restart."""

    def __init__(self, key: bytes, now: Callable[[], int], public_url: str = "") -> None:
        """`now` is in seconds since the epoch; `public_url` stands before each link."""
        self._key, self._now, self._root = key, now, public_url.rstrip("/")

    def made(self, key: str, method: Method, seconds: int) -> str:
        """The link, from the root of the server unless it has a public URL."""
        expires = self._now() + seconds
        query = {"expires": expires, "method": method, "signature": self._signature(key, method, expires)}
        return f"{self._root}/{SEGMENT}/{quote(key)}?{urlencode(query)}"

    def allows(self, key: str, method: str, query: Mapping[str, str]) -> bool:
        """Whether the link with this query is for that, was signed here, and is not over."""
        signed_for, text = query.get("method", ""), query.get("expires", "")
        if signed_for != method or not (text.isascii() and text.isdigit() and len(text) < 12):
            return False
        expected = self._signature(key, method, int(text))
        given = query.get("signature", "")
        return hmac.compare_digest(given.encode(), expected.encode()) and int(text) > self._now()

    def _signature(self, key: str, method: str, expires: int) -> str:
        text = f"{method}\n{expires}\n{key}".encode()
        return urlsafe_b64encode(hmac.digest(self._key, text, "sha256")).decode().rstrip("=")


def signing_key(secret: str, file: Path) -> bytes:
    """The key in the settings' secret, else the one in the file, which is made when there is none."""
    if secret:
        return sha256(b"daybook file links\n" + secret.encode()).digest()
    with suppress(FileNotFoundError):
        return file.read_bytes()
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(secrets.token_bytes(32))
        out.flush()
        os.fsync(out.fileno())
    with suppress(FileExistsError):  # another process was faster: theirs is everybody's
        os.link(draft, file)
    draft.unlink()
    return file.read_bytes()
