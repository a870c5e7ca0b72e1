"""Fixtures that every test may use."""

from tests.support.nats import nats_server, synced_nats_server
from tests.support.system import daybook_system

__all__ = ["daybook_system", "nats_server", "synced_nats_server"]
