"""The models and the endpoints of their servers.

Routes are immutable: a request uses the one it found until its end. The table is updated route by
route, so that a change costs the same in a fleet of ten models and of ten thousand.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, KeysView
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

from fleet_contract.spec import ModelSpec, Task
from fleet_contract.spec_parts import RoutingStrategy
from fleet_contract.status import Phase

T = TypeVar("T")


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

    `upstream_model` is the model's id at its servers, if different. `phase` and `reason` are those
    of the resource, in local mode of a model without servers; `cold_seconds` is the duration of the
    last start, `progress` that of a start or stop ("" if unknown), `seconds_left` the estimated
    time until its end, `ready_at` the Unix time at which a model that waits for others to yield may
    be ready. One that is not `served`, because another has its id, is known by its aliases only.
    """

    spec: ModelSpec
    endpoints: tuple[Endpoint, ...] = ()
    upstream_model: str = ""
    origin: Origin | None = None
    phase: Phase | None = None
    reason: str = ""
    cold_seconds: float | None = None
    progress: str = ""
    seconds_left: float | None = None
    served: bool = True
    ready_at: float | None = None

    @property
    def model(self) -> str:
        return self.spec.model

    @property
    def stopped(self) -> bool:
        """Whether the model has no servers on purpose, whatever its phase. Without a cluster
        nothing would raise `replicas: 0`, except for a model that starts on demand."""
        spec = self.spec
        never_starts = self.origin is None and spec.replicas == 0 and not spec.is_on_demand
        return spec.stopped or never_starts

    @property
    def names(self) -> tuple[str, ...]:
        """The ids and aliases that lead to this route."""
        return self.spec.ids if self.served else tuple(self.spec.aliases)


class BodyLimits(NamedTuple):
    """Bytes that a model accepts: in a JSON body, and as a recording."""

    body: int
    audio: int


class Change(NamedTuple):
    """Routes that leave a table, and routes that enter it; a changed route is in both."""

    removed: Collection[Route]
    added: Collection[Route]


class RouteTable:
    """`by_id` has the route of every id and alias; `version` grows with each change."""

    def __init__(self, *, ordered: bool = False) -> None:
        """With `ordered`, models are listed by id, else in the order in which they were added."""
        self.by_id: dict[str, Route] = {}
        self.version = 0
        self._ordered = ordered
        self._served: dict[str, Route] = {}
        self._of_task: dict[Task, dict[str, Route]] = defaultdict(dict)
        self._groups: dict[tuple[str, str], dict[str, Route]] = defaultdict(dict)
        self._limits: dict[Task, Counter[BodyLimits]] = defaultdict(Counter)
        self._endpoints: Counter[Endpoint] = Counter()
        self._prefix_hashed = 0
        self._listed: tuple[Route, ...] | None = None

    @classmethod
    def build(cls, routes: Iterable[Route]) -> RouteTable:
        """A table in the order of `routes`. Raises ValueError when two claim one id or alias."""
        table = cls()
        listed = list(routes)
        owner: dict[str, Route] = {}
        for route in listed:
            for name in route.names:
                if name in owner:
                    raise ValueError(
                        f"{name!r} names both {owner[name].model!r} and {route.model!r}"
                    )
                owner[name] = route
        table.apply(Change((), listed))
        return table

    def find(self, model: str) -> Route | None:
        """The route of an id or alias, or of the model of an adapter's id."""
        if (route := self.by_id.get(model)) is not None:
            return route
        route = self.by_id.get(model.rpartition(":")[0])
        return route if route is not None and route.spec.adapter_named(model) else None

    @property
    def routes(self) -> tuple[Route, ...]:
        """Every served model."""
        if self._listed is None:
            values = self._served.values()
            in_order = sorted(values, key=lambda one: one.model) if self._ordered else values
            self._listed = tuple(in_order)
        return self._listed

    @property
    def uses_prefix_hash(self) -> bool:
        """Whether any model is routed by the leading texts of requests."""
        return self._prefix_hashed > 0

    def of_task(self, task: Task | None) -> tuple[Route, ...]:
        """The served models with `task`, in no order; all of them if None."""
        return tuple((self._served if task is None else self._of_task[task]).values())

    def members(self, key: tuple[str, str]) -> tuple[Route, ...]:
        """The served models of a traffic group, by `group_key`."""
        return tuple(self._groups[key].values()) if key in self._groups else ()

    def body_limits(self, task: Task | None) -> Collection[BodyLimits]:
        """The different limits of the models with `task`; of all models if None."""
        if task is not None:
            return self._limits[task].keys()
        return {limits for counter in self._limits.values() for limits in counter}

    def serves(self, model: str) -> bool:
        """Whether `model` is the id of a served model."""
        return model in self._served

    def endpoints(self) -> KeysView[Endpoint]:
        """Every server of every model."""
        return self._endpoints.keys()

    def apply(self, change: Change) -> None:
        """Remove and add routes."""
        for route in change.removed:
            self._remove(route)
        for route in change.added:
            self._add(route)
        self._listed = None
        self.version += 1

    def _remove(self, route: Route) -> None:
        for name in route.names:
            # A name may have another owner by now.
            if self.by_id.get(name) is route:
                del self.by_id[name]
        if route.served:
            key = group_key(route)
            group = [self._groups[key]] if key is not None else []
            for routes in (self._served, self._of_task[route.spec.task], *group):
                if routes.get(route.model) is route:
                    del routes[route.model]
            if key is not None and not self._groups[key]:
                del self._groups[key]
            self._count(route, -1)

    def _add(self, route: Route) -> None:
        for name in route.names:
            self.by_id[name] = route
        if route.served:
            self._served[route.model] = route
            self._of_task[route.spec.task][route.model] = route
            key = group_key(route)
            if key is not None:
                self._groups[key][route.model] = route
            self._count(route, 1)

    def _count(self, route: Route, sign: int) -> None:
        spec = route.spec
        self._prefix_hashed += sign * (spec.routing.strategy is RoutingStrategy.PREFIX_HASH)
        limits = BodyLimits(spec.max_body_bytes, spec.limits.max_audio_bytes)
        _add(self._limits[spec.task], limits, sign)
        for endpoint in route.endpoints:
            _add(self._endpoints, endpoint, sign)


def server_prices(table: RouteTable | None) -> Iterator[tuple[str, str, float]]:
    """Model, currency and amount for an hour of its present servers; of models with that price."""
    for route in table.routes if table is not None else ():
        price = route.spec.price
        if price is not None and price.hour is not None:
            yield route.model, price.currency, price.hour * len(route.endpoints)


def group_key(route: Route) -> tuple[str, str] | None:
    """Namespace and traffic group of a route; None without a group. The namespace is part of it, so
    that no one can take the requests of a model in another namespace."""
    if route.spec.traffic is None:
        return None
    namespace = route.origin.namespace if route.origin is not None else ""
    return namespace, route.spec.traffic.group


class LiveRoutes:
    """The current table, None until it is known; `on_change` is called after each change."""

    def __init__(self) -> None:
        self.table: RouteTable | None = None
        self.on_change: Callable[[Change], None] = lambda change: None
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def swap(self, table: RouteTable) -> None:
        """Make `table` the current one."""
        old = self.table
        self.table = table
        removed = old.by_id.values() if old is not None else ()
        self._changed(Change(tuple(removed), tuple(table.by_id.values())))

    def apply(self, change: Change) -> None:
        """Change the current table, if there is one."""
        if self.table is not None:
            self.table.apply(change)
            self._changed(change)

    def _changed(self, change: Change) -> None:
        self.on_change(change)
        for routes in change:
            for route in routes:
                for name in route.names:
                    self._wake(self._waiting.get(name, ()))

    def notify(self) -> None:
        """End every `wait_for_change`."""
        for events in self._waiting.values():
            self._wake(events)

    @staticmethod
    def _wake(events: Iterable[asyncio.Event]) -> None:
        for event in events:
            event.set()

    async def wait_for_change(self, seconds: float, names: Collection[str]) -> None:
        """Wait until a route of one of these ids or aliases changes, at most `seconds`."""
        event = asyncio.Event()
        for name in names:
            self._waiting.setdefault(name, set()).add(event)
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return
        finally:
            for name in names:
                self._waiting[name].discard(event)
                if not self._waiting[name]:
                    del self._waiting[name]


def _add(counter: Counter[T], key: T, sign: int) -> None:
    """Count a key; one that is counted to zero is removed."""
    counter[key] += sign
    if not counter[key]:
        del counter[key]
