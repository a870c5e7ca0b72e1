"""What goes on for ever is missed at once when it does not."""

import asyncio

import pytest

from services.api.background import forever


async def stumbles() -> None:
    raise LookupError("no such thing")


async def test_what_breaks_says_why(caplog: pytest.LogCaptureFixture) -> None:
    task = forever(stumbles(), "following the stars")
    await asyncio.wait({task})
    assert "following the stars: this goes on no more" in caplog.text
    assert "no such thing" in caplog.text


async def test_what_is_cancelled_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    task = forever(asyncio.sleep(60), "sleeping")
    task.cancel()
    await asyncio.wait({task})
    assert caplog.text == ""
