"""Fixtures that every test may use."""

from tests.support.nats import nats_server, synced_nats_server

__all__ = ["nats_server", "synced_nats_server"]
