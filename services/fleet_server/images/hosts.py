"""Decides which hosts images may be fetched from: public ones, or those of a list.

A decision concerns a host together with each address it resolves to, and is made again for every
redirect.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence

from fleet_contract.errors import BadRequest

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Permitted = Callable[[IpAddress], bool]

EVERY_PUBLIC = "*"
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
SPECIAL = tuple(
    ipaddress.ip_network(block)
    for block in (
        "192.0.0.0/24",  # IETF protocol assignments (RFC 6890)
        "192.88.99.0/24",  # 6to4 relays (RFC 7526)
        "3fff::/20",  # documentation (RFC 9637)
    )
)
"""Blocks that the ipaddress module of Python 3.11 takes for public, in part or as a whole."""


class Hosts:
    """`allowed` holds names, addresses and CIDR blocks, and `*` for the addresses that `public`
    permits; empty means `*`."""

    def __init__(self, allowed: Sequence[str], public: Permitted) -> None:
        self._public = public
        self._every_public = not allowed or EVERY_PUBLIC in allowed
        self._listed = bool(allowed)
        self._names = frozenset(allowed) - {EVERY_PUBLIC}
        self._networks = [network for each in allowed if (network := _network(each)) is not None]

    def check(self, host: str, addresses: Sequence[IpAddress]) -> None:
        """Raise BadRequest unless a connection to `host` may use each of its addresses."""
        if all(self.permits(host, address) for address in addresses):
            return
        if self._every_public:
            raise BadRequest(
                "The image's URL leads into a private network.", code="image_fetch_failed"
            )
        raise BadRequest(
            "The image's host is not on this server's list of allowed hosts.",
            code="image_fetch_failed",
        )

    def permits(self, host: str, address: IpAddress) -> bool:
        """Whether a connection to `host` may use `address`.

        A listed name may have a private address, but not a link-local, multicast or unspecified
        one: a cloud's metadata service must be listed by its address.
        """
        if self._every_public and self._public(address):
            return True
        if not self._listed:
            return False
        if any(_unmapped(address) in network for network in self._networks):
            return True
        return host.lower().rstrip(".") in self._names and _is_routable(address)


def is_public(address: IpAddress) -> bool:
    """Whether `address`, and every IPv4 address embedded in it, is on the public internet.

    Not public: what the IANA registries of special-purpose addresses list as not globally
    reachable, and multicast and reserved ranges.
    """
    return all(_is_public(part) for part in (address, *embedded(address)))


def embedded(address: IpAddress) -> list[IpAddress]:
    """IPv4 addresses inside an IPv6 one: mapped (RFC 4291), 6to4 (RFC 3056), Teredo (RFC 4380)
    and NAT64 (RFC 6052)."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found: list[IpAddress] = list(address.teredo or ())
    found += [inner for inner in (address.ipv4_mapped, address.sixtofour) if inner is not None]
    if address in NAT64:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return found


def _is_public(address: IpAddress) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        if address.is_site_local:
            return False
        if address in NAT64:
            return True  # its embedded address decides
    special = (
        address.is_private, address.is_loopback, address.is_link_local, address.is_multicast,
        address.is_reserved, address.is_unspecified,
    )  # fmt: skip
    return (
        address.is_global
        and not any(special)
        and not any(address in block for block in SPECIAL if block.version == address.version)
    )


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None


def _unmapped(address: IpAddress) -> IpAddress:
    """The IPv4 address of a mapped one (RFC 4291), which is the same host."""
    return getattr(address, "ipv4_mapped", None) or address


def _is_routable(address: IpAddress) -> bool:
    return not any(
        part.is_link_local or part.is_multicast or part.is_unspecified
        for part in (address, *embedded(address))
    )
