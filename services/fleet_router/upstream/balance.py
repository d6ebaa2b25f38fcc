"""Load balancing among the servers of one model: least load, or consistent hashing. Pure."""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache

from fleet_router.routing.table import Endpoint

POINTS = 128
"""Points of each server on the ring."""
MAX_OVER_MEAN = 1.25
"""Load, relative to the mean, up to which a server gets more."""
LIGHT_LOAD = 4.0
"""Load up to which a server is never skipped: its prefix cache saves more than a free server."""

Load = Callable[[Endpoint], float]


def least_load(endpoints: Sequence[Endpoint], load: Load, rotation: int = 0) -> Endpoint | None:
    """The endpoint with the least load, None if there are no endpoints. Ties are broken by
    `rotation`, so that requests to an idle fleet are distributed."""
    if len(endpoints) < 2:
        return endpoints[0] if endpoints else None
    start = rotation % len(endpoints)
    return min((*endpoints[start:], *endpoints[:start]), key=load)


def prefix_hash(
    endpoints: Sequence[Endpoint], load: Load, key: bytes, cost: float = 1.0
) -> Endpoint | None:
    """The endpoint that owns the key's point on the ring, or the next one that is not overloaded.

    Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam: arXiv 1608.01350): a
    server is skipped while its load exceeds 1.25 times the mean, this request included. None if
    there are no endpoints.
    """
    if len(endpoints) < 2:
        return endpoints[0] if endpoints else None
    points, owners = ring(tuple(endpoints))
    mean = (sum(map(load, endpoints)) + cost) / len(endpoints)
    bound = max(MAX_OVER_MEAN * mean, LIGHT_LOAD)
    start = bisect.bisect(points, _point(key))
    seen: set[Endpoint] = set()
    for step in range(len(owners)):
        owner = owners[(start + step) % len(owners)]
        if owner not in seen:
            if load(owner) <= bound:
                return owner
            seen.add(owner)
            if len(seen) == len(endpoints):
                break
    # Not reached: the least load never exceeds the mean.
    return least_load(endpoints, load)


@lru_cache(maxsize=1024)
def ring(endpoints: tuple[Endpoint, ...]) -> tuple[list[int], list[Endpoint]]:
    """Points in rising order, and their owners. A server's points do not depend on the others."""
    points = sorted(
        (_point(f"{one.authority}|{n}".encode()), one.authority, index)
        for index, one in enumerate(endpoints)
        for n in range(POINTS)
    )
    return [point for point, _, _ in points], [endpoints[index] for _, _, index in points]


def _point(key: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest())
