"""Wake-ups: schedules that the broker keeps for us, and the queue they come back on.

A message stored on `timer.<job>.<name>` with a schedule makes the broker store `fired.<job>.<name>` when it
is due (0 to 270 ms late). A core subscriber never sees a fired message, so it is consumed from the stream.
"""

from uuid import UUID

from shared.application.clock import from_us
from shared.broker import subjects
from shared.broker.batches import stored
from shared.broker.connection import Connection
from shared.broker.publisher import Publisher
from shared.broker.streams import declare_consumer

CONSUMER = "wakeups"

KEPT = "24h"
"""How long the broker keeps a wake-up that came. One that nobody took by then is the scheduler's to find."""


class WakeUps:
    """Arms wake-ups. Arming one that is armed replaces it: a schedule's subject is its name."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def arm(self, job: UUID, name: str, at: int) -> None:
        """Have the wake-up come at `at`, in microseconds since the epoch. Raises BrokerError."""
        when = from_us(at).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        header = (
            f"NATS/1.0\r\nNats-Schedule:@at {when}\r\n"
            f"Nats-Schedule-Target:{subjects.fired(job, name)}\r\n"
            f"Nats-Schedule-TTL:{KEPT}\r\n\r\n"
        ).encode()
        stored(await self._publisher.request(subjects.timer(job, name), b"{}", header))


async def declare_wakeup_queue(connection: Connection) -> None:
    """The durable consumer of fired wake-ups, shared by all dispatchers."""
    await declare_consumer(
        connection,
        subjects.TIMERS,
        {
            "durable_name": CONSUMER,
            "filter_subject": subjects.FIRED,
            "ack_policy": "explicit",
            "ack_wait": 10_000_000_000,
            "max_ack_pending": 10_000,
            "deliver_policy": "all",
        },
    )
