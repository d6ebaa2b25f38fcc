"""Which server gets the next attempt of a request: health first, then the model's strategy.

Called by `attempt`; puts `health`, the loads of `pool` and the functions of `balance` together.
"""

from __future__ import annotations

from collections.abc import Collection

from fleet_contract.spec_parts import RoutingStrategy
from fleet_router.request.cost import RequestCost
from fleet_router.routing.table import Endpoint, Route, RouteTable
from fleet_router.upstream.balance import least_load, prefix_hash
from fleet_router.upstream.outliers import Outliers
from fleet_router.upstream.pool import PoolManager


class EndpointPicker:
    """One for each router process."""

    def __init__(self, pools: PoolManager, health: Outliers) -> None:
        self._pools = pools
        self.health = health

    def choose(
        self, route: Route, tried: Collection[Endpoint], cost: RequestCost, turn: int
    ) -> Endpoint | None:
        """One of the route's servers that was not `tried`; None when none is left."""
        if len(route.endpoints) == 1:
            only = route.endpoints[0]
            return None if only in tried else only
        left = [each for each in route.endpoints if each not in tried]
        usable = self.health.usable(left)
        if cost.prefix and route.spec.routing.strategy is RoutingStrategy.PREFIX_HASH:
            return prefix_hash(usable, self._pools.load, cost.prefix, cost.units)
        return least_load(usable, self._eased_load, turn)

    def retain(self, table: RouteTable) -> None:
        """Follow the servers of a new table."""
        alone = {route.endpoints[0] for route in table.routes if len(route.endpoints) == 1}
        self.health.retain(table.endpoints(), alone=alone)

    def _eased_load(self, endpoint: Endpoint) -> float:
        share = self.health.share(endpoint)
        load = self._pools.load(endpoint)
        return load if share == 1.0 else (load + 1.0) / share - 1.0
