"""Versions of the workers' protocol, whose messages are the same in all of them."""

from collections.abc import Iterable
from typing import Final

SPOKEN: Final = (b"1.0b15", b"1.0b16", b"1.0b17")


def answered(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The version that an answer is told to be in: the asker's, because its SDK warns of any other.

    Who says none, or one that is not spoken, is told the first.
    """
    for name, value in headers:
        if name == b"x-rxon-version" and value in SPOKEN:
            return value
    return SPOKEN[0]
