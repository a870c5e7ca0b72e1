"""What must hold for the server to do its work: a broker, writes that survive a power cut, rows that keep
up.
"""

from collections.abc import Mapping
from typing import Final

from services.api.metrics import Metrics
from services.api.reads import Reads
from services.api.system_routes import Check, Checked
from shared.application.ports import Journal
from shared.broker.connection import Connection
from shared.broker.streams import Durability

MAX_LAG: Final = 10_000
"""Commits. The projector does some ten thousand a second, so behind this much it is about a second late."""


def checks_of(
    connection: Connection, journal: Journal, reads: Reads, metrics: Metrics, policy: Durability, profile: str
) -> Mapping[str, Check]:
    """The checks of readiness by name."""

    async def broker() -> Checked:
        if not connection.is_connected:
            return Checked(False, "the connection to the broker is lost")
        return Checked(True, f"connected; the journal is at {await journal.last_sequence()}")

    async def durable() -> Checked:
        # Development may run without a sync for each write; it is told, and it is not a failure.
        return Checked(policy.sync_always or profile != "production", policy.how)

    async def projector() -> Checked:
        position = await reads.position()
        lag = max(0, await journal.last_sequence() - position)
        metrics.lag.set(lag)
        return Checked(lag <= MAX_LAG, f"{lag} commits behind")

    return {"broker": broker, "durability": durable, "projector": projector}
