"""Which hosts images may be fetched from: public ones, or those of a list, private ones included.

The decision is about a host together with each address it resolved to, and is made again for every
redirect.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from fleet_contract.errors import BadRequest
from fleet_server.images.addresses import IpAddress, Permitted, embedded

EVERY_PUBLIC = "*"


class Hosts:
    """`allowed` holds names, addresses and CIDR blocks, and `*` for what `public` permits; where it
    is empty, that is all."""

    def __init__(self, allowed: Sequence[str], public: Permitted) -> None:
        self._public = public
        self._every_public = not allowed or EVERY_PUBLIC in allowed
        self._listed = bool(allowed)
        self._names = frozenset(allowed) - {EVERY_PUBLIC}
        self._networks = [network for each in allowed if (network := _network(each)) is not None]

    def check(self, host: str, addresses: Sequence[IpAddress]) -> None:
        """Raises BadRequest unless a connection to `host` may go to each of its addresses."""
        if all(self.permits(host, address) for address in addresses):
            return
        if self._every_public:
            raise BadRequest(
                "The image's address leads into a private network.", code="image_fetch_failed"
            )
        raise BadRequest(
            "The image's host is not among those this server fetches from.",
            code="image_fetch_failed",
        )

    def permits(self, host: str, address: IpAddress) -> bool:
        """Whether one address of `host` may be connected to.

        A listed name may have any address of a network, but none that is special to every machine
        (link-local, multicast, unspecified): a cloud's metadata service needs a block of its own.
        """
        if self._every_public and self._public(address):
            return True
        if not self._listed:
            return False
        if any(_plain(address) in network for network in self._networks):
            return True
        return host.lower().rstrip(".") in self._names and _is_of_a_network(address)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None


def _plain(address: IpAddress) -> IpAddress:
    """The IPv4 address of a mapped one (RFC 4291), which goes to the very same host."""
    return getattr(address, "ipv4_mapped", None) or address


def _is_of_a_network(address: IpAddress) -> bool:
    return not any(
        part.is_link_local or part.is_multicast or part.is_unspecified
        for part in (address, *embedded(address))
    )
