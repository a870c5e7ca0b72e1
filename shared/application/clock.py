"""The one place that reads the wall clock. Everything else gets the time as an argument."""

import time
from datetime import UTC, datetime, timedelta


def utc_now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)  # noqa: TID251 (this is the clock)


def now_us() -> int:
    """The current time in microseconds since the epoch, as stored commits give it."""
    return time.time_ns() // 1000


def now_seconds() -> int:
    """The current time in whole seconds since the epoch."""
    return time.time_ns() // 1_000_000_000


def to_us(moment: datetime) -> int:
    """Microseconds since the epoch of an aware `moment`, without the rounding of a float."""
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def from_us(us: int) -> datetime:
    """The aware UTC moment `us` microseconds after the epoch."""
    return _EPOCH + timedelta(microseconds=us)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
