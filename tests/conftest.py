"""Fixtures that every test may use."""

import signal

from tests.support.nats import nats_server, synced_nats_server
from tests.support.system import daybook_system

__all__ = ["daybook_system", "nats_server", "synced_nats_server"]


def pytest_configure() -> None:
    """Hear Ctrl-C again when a shell started us in the background: it has us ignore it, and the processes
    that tests start and interrupt would inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
