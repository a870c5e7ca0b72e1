"""Where webhooks may go: public addresses, checked after the name was resolved and before the connection.

The connection is made to the address that was checked, so a name that resolves differently the next moment
changes nothing.
"""

import asyncio
import ipaddress
import socket
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

RESOLVE_SECONDS: Final = 5.0
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")


class Forbidden(Exception):
    """Nothing is sent to this address, now or later."""


class Unresolved(Exception):
    """The name has no address just now."""


async def address_of(host: str, port: int, *, loopback: bool) -> str:
    """An address of `host` that may be connected to; `loopback` allows this machine too.

    Raises Forbidden when any of its addresses is not public, Unresolved.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as error:
        raise Unresolved(f"{host} cannot be resolved: {error}") from error
    addresses = [str(info[4][0]) for info in found]
    if not addresses:
        raise Unresolved(f"{host} has no address")
    for text in addresses:
        if not is_allowed(ipaddress.ip_address(text.partition("%")[0]), loopback=loopback):
            raise Forbidden(f"{host} is at {text}, which is not public")
    return addresses[0]


def is_allowed(address: Address, *, loopback: bool) -> bool:
    """Whether webhooks may go there. An IPv4 address inside an IPv6 one counts as itself."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_allowed(inner, loopback=loopback)
        if address.is_loopback:
            return loopback
        if address in _COMPATIBLE or address.teredo is not None:
            return False
    if address.is_loopback:
        return loopback
    return address.is_global and not address.is_multicast
