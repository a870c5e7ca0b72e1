"""Fixtures that every test may use."""

import os
import signal

from hypothesis import HealthCheck, settings

from tests.support.nats import nats_server, synced_nats_server
from tests.support.system import daybook_system

# gRPC would start its threads anew in each child before that becomes another program, and end the child when
# they fail. Tests serve gRPC and start nats-server in one process; the system never does.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

# What hypothesis tries is the same each time, and the clock decides nothing: an example may be slow because
# the machine is. `pytest --hypothesis-profile=search` tries others, to find what nobody has found yet.
_UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", _UNTIMED)
settings.register_profile("daybook", _UNTIMED, derandomize=True)
settings.load_profile("daybook")

__all__ = ["daybook_system", "nats_server", "synced_nats_server"]


def pytest_configure() -> None:
    """Hear Ctrl-C again when a shell started us in the background: it has us ignore it, and the processes
    that tests start and interrupt would inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
