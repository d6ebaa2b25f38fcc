"""The models and the endpoints of their servers, as an immutable snapshot.

Sources build a new RouteTable for every change; a request uses one snapshot until its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import urlsplit

from fleet_contract.spec import ModelSpec, Task
from fleet_contract.spec_parts import RoutingStrategy
from fleet_contract.status import Phase


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server of a model. `prefix` is the path of its base address, without a final slash;
    `key` is its bearer token, "" for none."""

    name: str
    host: str
    port: int
    tls: bool = False
    prefix: str = ""
    key: str = field(default="", repr=False)

    @classmethod
    def parse(cls, name: str, url: str, key: str = "") -> Endpoint:
        """From a base address such as `http://127.0.0.1:9001`. Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"endpoint {name!r}: {url!r} is not an http(s) address")
        tls = parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
        return cls(name, parts.hostname, port, tls, parts.path.rstrip("/"), key)

    @property
    def authority(self) -> str:
        """The value of a `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Origin:
    """The InferenceModel of a route; `wake_at` is when a server was last requested."""

    namespace: str
    name: str
    wake_at: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """A model and its servers; without servers, requests have to wait.

    `upstream_model` is the model's id at its servers, if different. Only on a cluster: `phase` and
    `reason` of the resource, and `cold_seconds`, the duration of the last start.
    """

    spec: ModelSpec
    endpoints: tuple[Endpoint, ...] = ()
    upstream_model: str = ""
    origin: Origin | None = None
    phase: Phase | None = None
    reason: str = ""
    cold_seconds: float | None = None

    @property
    def model(self) -> str:
        return self.spec.model


@dataclass(frozen=True, slots=True)
class RouteTable:
    """Every model in order, and the route of every id and alias."""

    routes: tuple[Route, ...]
    by_id: Mapping[str, Route]
    uses_prefix_hash: bool = False
    """Whether any model is routed by the leading texts of requests."""
    refused: tuple[Route, ...] = ()
    """Models that are not served because of a conflict; only their aliases are known."""
    groups: Mapping[tuple[str, str], tuple[Route, ...]] = field(default_factory=dict)
    """The members of each traffic group, by `group_key`."""

    @classmethod
    def build(cls, routes: Iterable[Route], refused: Iterable[Route] = ()) -> RouteTable:
        """Raises ValueError when two models of `routes` claim one id or alias."""
        listed = tuple(routes)
        by_id: dict[str, Route] = {}
        for route in listed:
            for name in route.spec.ids:
                if name in by_id:
                    raise ValueError(
                        f"{name!r} names both {by_id[name].model!r} and {route.model!r}"
                    )
                by_id[name] = route
        others = tuple(refused)
        for route in others:
            by_id.update({alias: route for alias in route.spec.aliases if alias not in by_id})
        uses_prefix_hash = any(
            each.spec.routing.strategy is RoutingStrategy.PREFIX_HASH for each in listed
        )
        groups: dict[tuple[str, str], tuple[Route, ...]] = {}
        for route in listed:
            key = group_key(route)
            if key is not None:
                groups[key] = (*groups.get(key, ()), route)
        return cls(listed, MappingProxyType(by_id), uses_prefix_hash, others, groups)

    def of_task(self, task: Task | None) -> tuple[Route, ...]:
        """The models with `task`; all models if None."""
        return tuple(route for route in self.routes if task is None or route.spec.task is task)

    def endpoints(self) -> frozenset[Endpoint]:
        """Every server of every model."""
        return frozenset(endpoint for route in self.routes for endpoint in route.endpoints)


def group_key(route: Route) -> tuple[str, str] | None:
    """Namespace and traffic group of a route; None without a group. The namespace is part of it:
    anyone could take the requests of a model in another one."""
    if route.spec.traffic is None:
        return None
    namespace = route.origin.namespace if route.origin is not None else ""
    return namespace, route.spec.traffic.group


class LiveRoutes:
    """The current table; `on_swap` is called with each new one."""

    def __init__(self) -> None:
        self.table: RouteTable | None = None
        self.on_swap: Callable[[RouteTable], None] = lambda table: None
        self._changed: asyncio.Event | None = None

    def swap(self, table: RouteTable) -> None:
        """Make `table` the current one."""
        self.table = table
        self.on_swap(table)
        self.notify()

    def notify(self) -> None:
        """Wake all `wait_for_change`."""
        if self._changed is not None:
            # A new event for the next change: clearing this one could hide it from a slow waiter.
            self._changed.set()
            self._changed = None

    async def wait_for_change(self, seconds: float) -> None:
        """Wait for the next table, at most `seconds`."""
        if self._changed is None:
            self._changed = asyncio.Event()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return
