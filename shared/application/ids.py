"""Ids. New ones are UUIDv7 (RFC 9562, section 5.7), so that they sort by time; derived ones are UUIDv5."""

import os
import time
from uuid import UUID, uuid5


def new_id() -> UUID:
    """A fresh UUIDv7: 48 bits of milliseconds, 12 bits of sub-millisecond time, 62 random bits."""
    ns = time.time_ns()
    ms, below = divmod(ns, 1_000_000)
    value = (ms & 0xFFFF_FFFF_FFFF) << 80
    value |= 0x7 << 76
    value |= (below * 4096 // 1_000_000) << 64
    value |= 0x2 << 62
    value |= int.from_bytes(os.urandom(8), "big") & 0x3FFF_FFFF_FFFF_FFFF
    return UUID(int=value)


def derived_id(namespace: UUID, name: str) -> UUID:
    """The UUIDv5 of `name` in `namespace`: the same name always gives the same id."""
    return uuid5(namespace, name)
