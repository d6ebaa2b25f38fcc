"""Chooses among the servers of one model. Pure; called by `attempt` for every attempt."""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache

from fleet_router.routing.table import Endpoint

POINTS = 128
"""Places of each server on the ring."""
MOST_OVER_MEAN = 1.25
"""How far above the mean load a server may be to be given more."""
LIGHT_LOAD = 4.0
"""Load below which a server is never passed over: what it has cached is worth more."""

Load = Callable[[Endpoint], float]


def least_load(endpoints: Sequence[Endpoint], load: Load, turn: int = 0) -> Endpoint | None:
    """The endpoint with the least load; among equals `turn` decides, so that an idle fleet takes
    turns. None when there are none."""
    if len(endpoints) < 2:
        return endpoints[0] if endpoints else None
    start = turn % len(endpoints)
    return min((*endpoints[start:], *endpoints[:start]), key=load)


def prefix_hash(
    endpoints: Sequence[Endpoint], load: Load, key: bytes, cost: float = 1.0
) -> Endpoint | None:
    """The endpoint that has the key's place on the ring, or the next one that is not overloaded.

    Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam: arXiv 1608.01350): a
    server is passed over while its load exceeds 1.25 times the mean, this request included. None
    when there are no endpoints.
    """
    if len(endpoints) < 2:
        return endpoints[0] if endpoints else None
    places, owners = ring(tuple(endpoints))
    mean = (sum(map(load, endpoints)) + cost) / len(endpoints)
    bound = max(MOST_OVER_MEAN * mean, LIGHT_LOAD)
    start = bisect.bisect(places, _place(key))
    seen: set[Endpoint] = set()
    for step in range(len(owners)):
        owner = owners[(start + step) % len(owners)]
        if owner not in seen:
            if load(owner) <= bound:
                return owner
            seen.add(owner)
            if len(seen) == len(endpoints):
                break
    return least_load(endpoints, load)


@lru_cache(maxsize=1024)
def ring(endpoints: tuple[Endpoint, ...]) -> tuple[list[int], list[Endpoint]]:
    """Places in rising order, and whose they are. A server's own do not depend on the others."""
    points = sorted(
        (_place(f"{one.authority}|{n}".encode()), one.authority, index)
        for index, one in enumerate(endpoints)
        for n in range(POINTS)
    )
    return [place for place, _, _ in points], [endpoints[index] for _, _, index in points]


def _place(key: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest())
