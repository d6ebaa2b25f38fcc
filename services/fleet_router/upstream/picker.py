"""Picks the server for an attempt: not ejected, then by the model's load-balancing strategy."""

from __future__ import annotations

from collections.abc import Collection

from fleet_contract.spec_parts import RoutingStrategy
from fleet_router.request.cost import RequestCost
from fleet_router.routing.table import Endpoint, Route
from fleet_router.upstream.adapters import AbsentAdapters
from fleet_router.upstream.balance import least_load, prefix_hash
from fleet_router.upstream.outliers import Outliers
from fleet_router.upstream.pool import PoolManager


class EndpointPicker:
    """Combines outliers, absent adapters, loads and strategies."""

    def __init__(self, pools: PoolManager, outliers: Outliers) -> None:
        self._pools = pools
        self.outliers = outliers
        self.absent = AbsentAdapters()

    def pick(
        self,
        route: Route,
        tried: Collection[Endpoint],
        cost: RequestCost,
        rotation: int,
        adapter: str = "",
    ) -> Endpoint | None:
        """One of the route's servers that was not `tried`, preferably one that has `adapter`; None
        if there is none."""
        if len(route.endpoints) == 1:
            only = route.endpoints[0]  # even if ejected: there is no other
            return None if only in tried else only
        left = [each for each in route.endpoints if each not in tried]
        usable = self.absent.preferred(self.outliers.usable(left), adapter)
        if cost.prefix and route.spec.routing.strategy is RoutingStrategy.PREFIX_HASH:
            return prefix_hash(usable, self._pools.load, cost.prefix, cost.units)
        return least_load(usable, self._weighted_load, rotation)

    def _weighted_load(self, endpoint: Endpoint) -> float:
        share = self.outliers.share(endpoint)
        load = self._pools.load(endpoint)
        return load if share == 1.0 else (load + 1.0) / share - 1.0
