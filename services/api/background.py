"""What is to go on for as long as the process does."""

import asyncio
import logging
from collections.abc import Coroutine

log = logging.getLogger(__name__)


def forever(work: Coroutine[None, None, None], what: str) -> "asyncio.Task[None]":
    """A task of `work`, which `what` names in the log: it says so at once when that ends before it is
    cancelled, or nobody would know why things stand still.
    """
    task = asyncio.get_running_loop().create_task(work, name=what)
    task.add_done_callback(_say)
    return task


def _say(task: "asyncio.Task[None]") -> None:
    if not task.cancelled():
        log.error("%s: this goes on no more", task.get_name(), exc_info=task.exception())
