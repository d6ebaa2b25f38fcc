"""Chooses among the servers of one model. Pure; called by `proxy` for every attempt."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from fleet_router.routes import Endpoint


def least_load(
    endpoints: Sequence[Endpoint],
    in_flight: Callable[[Endpoint], int],
    tried: Collection[Endpoint] = (),
    turn: int = 0,
) -> Endpoint | None:
    """The endpoint with the fewest requests in flight, leaving out those `tried`.

    Among equals `turn` decides, so that an idle fleet takes turns. None when none is left.
    """
    left = [endpoint for endpoint in endpoints if endpoint not in tried]
    if len(left) < 2:
        return left[0] if left else None
    start = turn % len(left)
    return min(left[start:] + left[:start], key=in_flight)
