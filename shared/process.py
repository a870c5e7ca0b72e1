"""One process of the system: settings in, logs out, signals, the ready file, an end that always comes.

A service's `__main__` is `run("api", main)`. `main(settings, process)` puts the service together, calls
`process.ready()` once it serves, and returns soon after `process.stopping` is set.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import uvloop

from shared.logs import log_to_stderr
from shared.settings import Settings, SettingsError

log = logging.getLogger(__name__)

PARENT_PIPE = "DAYBOOK_PARENT_PIPE"
"""Names the file descriptor of a pipe whose other end only the parent holds: at its end of file we go too."""

BAD_SETTINGS = 2
"""The exit status that no further start can change."""
ORPHAN_SECONDS = 2.0
"""What a process without its parent may still use to stop in order."""


class Process:
    """What a service may ask of the process it runs in."""

    def __init__(self, role: str, data: Path) -> None:
        self.role = role
        self.stopping = asyncio.Event()
        """Set by SIGTERM, by SIGINT and by the parent's end."""
        self.ready_file = ready_file(data, role)

    def ready(self) -> None:
        """Say that the service serves: the ready file now holds our process id. May be called again."""
        self.ready_file.parent.mkdir(parents=True, exist_ok=True)
        draft = self.ready_file.with_suffix(f".{os.getpid()}")
        draft.write_text(str(os.getpid()))
        draft.replace(self.ready_file)
        log.info("ready")

    def unready(self) -> None:
        """Take `ready` back. Another process's file is left alone."""
        with contextlib.suppress(FileNotFoundError):
            if self.ready_file.read_text() == str(os.getpid()):
                self.ready_file.unlink()


def ready_file(data: Path, role: str) -> Path:
    """Where the process of a role says that it serves; it holds the process id."""
    return data / "run" / f"{role}.ready"


def run(role: str, main: Callable[[Settings, Process], Awaitable[None]]) -> None:
    """Run `main` as the process of `role` and exit: 0 when told to stop, 1 on failure, 2 on settings, or
    files that they name, which cannot be used.
    """
    try:
        settings = Settings.from_env()
        if not settings.nats_url:
            raise SettingsError(
                ["DAYBOOK_NATS_URL is missing: a process of its own needs a broker's address"]
            )
    except SettingsError as error:
        for problem in error.problems:
            print(f"{role}: {problem}", file=sys.stderr)
        sys.exit(BAD_SETTINGS)
    log_to_stderr(
        role,
        level=settings.log_level,
        style="json" if settings.profile == "production" else "text",
        secrets=settings.secrets(),
    )
    _collect_seldom()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        status = runner.run(_serve(role, main, settings))
    sys.exit(status)


def _collect_seldom() -> None:
    """Leave what was loaded at the start out of garbage collection, and look at the rest less often.

    The heaps here are large and nearly free of cycles: at the default thresholds, collections took
    several per cent of a loaded process.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


async def _serve(role: str, main: Callable[[Settings, Process], Awaitable[None]], settings: Settings) -> int:
    process = Process(role, settings.data)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if not process.stopping.is_set():
            process.stopping.set()
            _exit_at_latest_in(settings.stop_seconds + 1)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    follow_parent(partial(loop.call_soon_threadsafe, stop))
    serving = asyncio.ensure_future(main(settings, process))
    stopping = asyncio.create_task(process.stopping.wait())
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            log.info("stopping")
            await asyncio.wait({serving}, timeout=settings.stop_seconds)
        if not serving.done():
            log.error("cut off: it did not stop within %g s", settings.stop_seconds)
            serving.cancel()
        await serving
    except SettingsError as error:
        for problem in error.problems:
            log.error("%s", problem)
        return BAD_SETTINGS
    except (Exception, asyncio.CancelledError, SystemExit):
        # The border of the process: whatever it is, it is logged and becomes the exit status.
        log.exception("failed")
        return 1
    finally:
        stopping.cancel()
        process.unready()
    if not process.stopping.is_set():
        log.error("ended without being told to")
        return 1
    log.info("stopped")
    return 0


def follow_parent(stop: Callable[[], object], seconds: float = ORPHAN_SECONDS) -> None:
    """Call `stop`, in a thread, when the parent is gone, however it went; exit at most `seconds` later.

    Does nothing when no parent gave us a pipe. The thread waits for the end of the pipe, so that a loop that
    is busy, or stuck, cannot outlive the parent.
    """
    descriptor = os.environ.pop(PARENT_PIPE, None)
    if descriptor is None:
        return
    os.set_inheritable(int(descriptor), False)

    def wait() -> None:
        while os.read(int(descriptor), 64):
            pass
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            stop()
        time.sleep(seconds)
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def _exit_at_latest_in(seconds: float) -> None:
    """The last resort against a loop that is stuck while it stops."""
    last = threading.Timer(seconds, os._exit, (1,))
    last.daemon = True
    last.start()
