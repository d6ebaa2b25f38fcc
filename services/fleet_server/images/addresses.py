"""Which network addresses images may be fetched from: public ones only."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Permitted = Callable[[IpAddress], bool]

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(address: IpAddress) -> bool:
    """Whether `address`, and every IPv4 address carried inside it, is on the public internet.

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
    return address.is_global and not any(special)
