"""The connection of one of our processes, as its settings say."""

from shared.broker.connection import Connection, connect
from shared.settings import Settings


async def open_connection(settings: Settings, role: str) -> Connection:
    """As the user of the settings where they have its password, else as the address says.

    Raises BrokerUnavailable.
    """
    password = settings.nats_password or None
    user = None if password is None else settings.nats_user
    return await connect(settings.nats_url, name=f"daybook-{role}", user=user, password=password)
