"""Identifies a caller by a short hash, so that servers can take turns between callers."""

from __future__ import annotations

import hashlib
import ipaddress
from functools import lru_cache

from fleet_router.callers.quota import Quota

HASH_BYTES = 8


def caller_id(quota: Quota | None, peer: str) -> str:
    """16 hexadecimal digits: of the key, else of the client's address `peer`.

    IPv6 clients are identified by their /64 prefix, of which one host may use every address.
    """
    return _peer_id(peer) if quota is None else _hash(f"key:{quota.key.sha256}")


@lru_cache(maxsize=4096)
def _peer_id(peer: str) -> str:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:  # a Unix socket
        return _hash(f"peer:{peer}")
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        else:
            prefix = int(address) >> 64 << 64
            address = ipaddress.IPv6Address(prefix)
    return _hash(f"peer:{address}")


@lru_cache(maxsize=4096)
def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).digest()[:HASH_BYTES].hex()
