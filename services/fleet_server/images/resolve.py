"""Host names to addresses, through the system's resolver."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable

from fleet_contract.errors import BadRequest
from fleet_server.images.addresses import IpAddress

Resolve = Callable[[str, int], Awaitable[list[IpAddress]]]

MOST_ADDRESSES = 16


async def resolve(host: str, port: int) -> list[IpAddress]:
    """Every address of `host`, IPv4 first. Raises BadRequest when there is none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise unresolved() from None
    addresses = {ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found}
    if not addresses or len(addresses) > MOST_ADDRESSES:
        raise unresolved()
    return sorted(addresses, key=lambda address: (address.version, int(address)))


def unresolved() -> BadRequest:
    return BadRequest("The host of the image's address has no address.", code="image_fetch_failed")
