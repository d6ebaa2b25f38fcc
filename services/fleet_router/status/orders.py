"""Orders of the console: to start, stop and scale models.

On one machine the `modelfleet up` that started the router takes them with its next report; of each
model only the last order counts. On a cluster the router may start models only, as requests do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from fleet_contract.api.control import MOST_SERVERS, Order
from fleet_contract.errors import BadRequest
from fleet_contract.spec import Engine
from fleet_router.routing.table import Origin, Route

ON_A_CLUSTER = (
    "A router of a cluster can only start models: use `modelfleet scale` or `unload` with"
    " --cluster, or kubectl."
)


class Orders(Protocol):
    """Accepts orders for models."""

    @property
    def controls(self) -> tuple[str, ...]:
        """Of `load`, `unload` and `scale`."""

    def give(self, route: Route, servers: int | None) -> None:
        """Order what `fleet_contract.api.control.Order` describes. Raises BadRequest."""


@dataclass(slots=True)
class LocalOrders:
    """Kept until they are taken."""

    controls: tuple[str, ...] = ("load", "unload", "scale")
    _given: dict[str, Order] = field(default_factory=dict)

    def give(self, route: Route, servers: int | None) -> None:
        """See Orders."""
        check(route, servers)
        self._given[route.model] = Order(route.model, servers)

    def take(self) -> list[Order]:
        """The orders since the last call."""
        found = list(self._given.values())
        self._given.clear()
        return found


@dataclass(frozen=True, slots=True)
class ClusterOrders:
    """`wake` requests a server of a resource."""

    wake: Callable[[Origin], None]
    controls: tuple[str, ...] = ("load",)

    def give(self, route: Route, servers: int | None) -> None:
        """See Orders."""
        check(route, servers)
        if servers is not None or route.origin is None:
            raise BadRequest(ON_A_CLUSTER, param="servers")
        if not route.spec.is_on_demand and route.spec.target_in_flight is None:
            namespace, name = route.origin.namespace, route.origin.name
            raise BadRequest(
                f"{route.model!r} is not scaled by its requests, so that a router cannot start it:"
                f" use `kubectl modelfleet scale -n {namespace} {name} 1`."
            )
        self.wake(route.origin)


def check(route: Route, servers: int | None) -> None:
    """Raise BadRequest for a model that cannot be started, and another number of servers than 0 to
    MOST_SERVERS."""
    if route.spec.engine is Engine.REMOTE:
        raise BadRequest(f"{route.model!r} is remote: it has no servers here.")
    if route.stopped:
        raise BadRequest(f"{route.model!r} is stopped.")
    if servers is not None and not 0 <= servers <= MOST_SERVERS:
        raise BadRequest(f"`servers` must be a number from 0 to {MOST_SERVERS}.", param="servers")
