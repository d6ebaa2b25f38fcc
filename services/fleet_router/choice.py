"""Which server gets the next attempt of a request: health first, then the model's strategy.

Called by `attempt`; puts `health`, the loads of `pool` and the functions of `balance` together.
"""

from __future__ import annotations

from collections.abc import Collection

from fleet_contract.spec_parts import Strategy
from fleet_router.balance import least_load, prefix_hash
from fleet_router.health import Health
from fleet_router.peek import Peek
from fleet_router.pool import Pools
from fleet_router.routes import Endpoint, Route, RouteTable


class Choice:
    """One for each router process."""

    def __init__(self, pools: Pools, health: Health) -> None:
        self._pools = pools
        self.health = health

    def choose(
        self, route: Route, tried: Collection[Endpoint], peek: Peek, turn: int
    ) -> Endpoint | None:
        """One of the route's servers that was not `tried`; None when none is left."""
        if len(route.endpoints) == 1:
            only = route.endpoints[0]
            return None if only in tried else only
        left = [each for each in route.endpoints if each not in tried]
        usable = self.health.usable(left)
        if peek.prefix and route.spec.routing.strategy is Strategy.PREFIX_HASH:
            return prefix_hash(usable, self._pools.load, peek.prefix, peek.cost)
        return least_load(usable, self._eased_load, turn)

    def retain(self, table: RouteTable) -> None:
        """Follow the servers of a new table."""
        alone = {route.endpoints[0] for route in table.routes if len(route.endpoints) == 1}
        self.health.retain(table.endpoints(), alone=alone)

    def _eased_load(self, endpoint: Endpoint) -> float:
        share = self.health.share(endpoint)
        load = self._pools.load(endpoint)
        return load if share == 1.0 else (load + 1.0) / share - 1.0
