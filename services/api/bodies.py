"""Request bodies: read up to a limit, looked over before they are parsed, decoded into a Struct.

Limits come first because a parser is where deep or huge JSON hurts: bytes by Content-Length and while
reading, nesting and keys by a linear scan that most bodies skip after three counts.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec
from starlette.types import Receive

from services.api.problems import Problem, of_decoding

T = TypeVar("T")


class ClientGone(Exception):
    """The client hung up while sending; there is nobody to answer."""


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What a body may cost. A bulk request may have `bulk_factor` times the bytes and keys."""

    max_bytes: int = 1024 * 1024
    max_depth: int = 64
    max_keys: int = 10_000
    read_seconds: float = 30.0
    bulk_factor: int = 16

    def bulk(self) -> "BodyLimits":
        """The limits of a bulk request: more of everything, and two levels for the envelope."""
        factor = self.bulk_factor
        return BodyLimits(
            self.max_bytes * factor, self.max_depth + 2, self.max_keys * factor, self.read_seconds, factor
        )


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], limits: BodyLimits) -> bytes:
    """The whole body. Raises Problem (408, 413, 415) or ClientGone."""
    media = headers.get(b"content-type")
    if media is not None and media != b"application/json" and not _is_json(media):
        raise Problem("unsupported_media_type", "Send Content-Type: application/json.")
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise Problem("unsupported_media_type", "Send the body without Content-Encoding.")
    length = headers.get(b"content-length")
    if length is not None and (not length.isdigit() or int(length) > limits.max_bytes):
        raise _too_large(limits)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        body = await _rest(receive, body, limits)
    if len(body) > limits.max_bytes:
        raise _too_large(limits)
    return body


async def streamed(receive: Receive, pause_seconds: float = 30.0) -> AsyncIterator[bytes]:
    """The body as it comes, of any size and kind; `pause_seconds` is the longest time without any of it.

    Raises Problem (408) or ClientGone.
    """
    more = True
    while more:
        try:
            async with asyncio.timeout(pause_seconds):
                message = await receive()
        except TimeoutError as error:
            detail = f"Nothing came for {pause_seconds:g} seconds."
            raise Problem("body_too_slow", detail, headers=[("Connection", "close")]) from error
        if message["type"] == "http.disconnect":
            raise ClientGone
        more = message.get("more_body", False)
        yield message.get("body", b"")


def decode(decoder: msgspec.json.Decoder[T], body: bytes, limits: BodyLimits) -> T:
    """The body as the decoder's type. Raises Problem (400, 422) that says where it is wrong."""
    inspect(body, limits)
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise of_decoding(error) from error


def inspect(body: bytes, limits: BodyLimits) -> None:
    """Refuse JSON that is too deep, has too many keys, or integers beyond 64 bits. Linear in the body."""
    if body.count(b"[") + body.count(b"{") > limits.max_depth and _too_deep(body, limits.max_depth):
        raise Problem("too_deep", f"The limit is {limits.max_depth} levels.")
    if body.count(b":") > limits.max_keys and _STRING.sub(b"", body).count(b":") > limits.max_keys:
        raise Problem("too_many_keys", f"The limit is {limits.max_keys} keys.")
    if _LONG_NUMBER.search(body) is not None:
        _refuse_huge_integers(body)


_JSON_MEDIA: Final = re.compile(rb"\s*application/(?:json|[a-z0-9.+-]+\+json)\s*(?:;.*)?", re.IGNORECASE)
# Possessive, and satisfied by the end of the text too, so that an unterminated string costs no second look.
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_AS_BRACKETS: Final = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")
_LONG_NUMBER: Final = re.compile(rb"[0-9]{19}")
_INTEGER: Final = re.compile(rb"-?[0-9]{19,}+(?![.eE0-9])")
_FRACTION: Final = re.compile(rb"\.[0-9]++")


def _is_json(media: bytes) -> bool:
    return _JSON_MEDIA.fullmatch(media) is not None


def _too_large(limits: BodyLimits) -> Problem:
    detail = f"The limit is {limits.max_bytes} bytes."
    return Problem("body_too_large", detail, headers=[("Connection", "close")])


async def _rest(receive: Receive, first: bytes, limits: BodyLimits) -> bytes:
    parts, size, more = [first], len(first), True
    try:
        async with asyncio.timeout(limits.read_seconds):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                part = message.get("body", b"")
                parts.append(part)
                size += len(part)
                more = message.get("more_body", False)
                if size > limits.max_bytes:
                    raise _too_large(limits)
    except TimeoutError as error:
        raise Problem("body_too_slow", f"The limit is {limits.read_seconds:g} seconds.") from error
    return b"".join(parts)


def _too_deep(body: bytes, limit: int) -> bool:
    """Whether they nest deeper than `limit`. Braces count as brackets: which fits which, the parser says."""
    left = _STRING.sub(b"", body).translate(_AS_BRACKETS, delete=_NOT_BRACKETS)
    # Each pass takes the innermost level away, in C, so the cost is the limit times the length and no more.
    for _ in range(limit):
        shorter = left.replace(b"[]", b"")
        if len(shorter) == len(left):
            return left.count(b"[") > limit  # nothing but what was never closed
        left = shorter
    return b"[]" in left


def _refuse_huge_integers(body: bytes) -> None:
    """Raise Problem for an integer outside 64 bits: every JSON reader but Python's would change its value."""
    text = _FRACTION.sub(b".", _STRING.sub(b"", body))
    for digits in _INTEGER.findall(text):
        if len(digits) > 20 or not -(2**63) <= int(digits) < 2**64:
            shown = digits[:24].decode()
            raise Problem("invalid", f"The integer {shown}… does not fit in 64 bits; send it as a string.")


def decoder_of(cls: type[T]) -> msgspec.json.Decoder[T]:
    """A decoder for a wire model. Make it once: it is compiled for the type."""
    return msgspec.json.Decoder(cls)


Document = dict[str, Any]
