"""Chooses the member of a traffic group that serves a request. Pure.

Each session has a fixed place from 0 to 100. The first member gets the places below its weight, the
next those above, and the primary the rest: a weight that rises or falls moves as few sessions as
possible.
"""

from __future__ import annotations

import hashlib

from fleet_contract.status import Phase
from fleet_router.routing.table import Route, RouteTable, group_key

WHOLE = 100.0


def member_for(table: RouteTable, route: Route, model: str | None, session: str) -> Route:
    """The member for a request that named `model`, which is an id of `route`."""
    key = group_key(route)
    if key is None or model != key[1]:
        return route
    others = [
        member
        for member in table.members(key)
        if member.model != route.model and member.spec.task is route.spec.task
    ]
    ordered = tuple(sorted(others, key=lambda member: member.model))
    return choose(route, ordered, model, session)


def choose(primary: Route, others: tuple[Route, ...], group: str, session: str) -> Route:
    """The primary or one of `others`; weights beyond 100 in sum are scaled down to it."""
    scale = min(1.0, WHOLE / max(sum(map(weight_of, others)), 1))
    at, limit = place(group, session), 0.0
    for member in others:
        limit += weight_of(member) * scale
        if at < limit:
            return member if _can_serve(member) else primary
    return primary


def weight_of(route: Route) -> int:
    """The percentage of the group's requests for a member."""
    return route.spec.traffic.weight if route.spec.traffic is not None else 0


def place(group: str, session: str) -> float:
    """The place of a session in a group: at least 0, less than 100, uniformly distributed."""
    digest = hashlib.sha256(f"{group}\n{session}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48 * WHOLE


def _can_serve(route: Route) -> bool:
    """Whether a member has servers, or starts one for a request."""
    return bool(route.endpoints) or route.phase is Phase.SCALED_TO_ZERO
