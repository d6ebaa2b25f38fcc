"""The models as the console shows them: specs, states of servers, load and recent figures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic.alias_generators import to_camel

from fleet_contract.api.load_report import ReportedLoad
from fleet_contract.manifests import manifest, without_secrets
from fleet_contract.safe_text import redacted
from fleet_contract.server_protocol import ServerPhase
from fleet_contract.spec import Engine
from fleet_contract.yaml_text import dump_all
from fleet_router.callers.history import INTERVAL_SECONDS, INTERVALS, History
from fleet_router.metrics import RouterMetrics
from fleet_router.routing.table import Origin, Route, RouteTable
from fleet_router.status.models import Entry, Models
from fleet_router.status.recent import Recent
from fleet_router.status.server_reports import PROGRESS, ServerReport, ServerReports

ENTRY_SECONDS = 1.0
"""Age up to which the entry of a model is used again."""
ENTRY_READY_SECONDS = 15.0
"""While its servers report that they are ready: then only their memory changes."""
READY = ServerPhase.READY.value

Details = Callable[[Origin], Mapping[str, Any] | None]
"""Details of a resource that its route lacks: `conditions`, `coldStart`, `weights`
and `ready`, as in the status of an InferenceModel."""


@dataclass(frozen=True, slots=True)
class FleetView:
    """`held` is the number of requests that wait for a server of each model."""

    models: Models
    servers: ServerReports
    metrics: RouterMetrics
    history: History
    held: Mapping[str, int]
    details: Details | None = None
    entries: Recent[str, tuple[Route, Entry]] = field(default_factory=lambda: Recent(ENTRY_SECONDS))
    """By model, with the route that was queried. Only of those that are shown: a page that is read
    every two seconds must not query the servers of the whole fleet."""

    async def rows(
        self, table: RouteTable, routes: Sequence[Route], *, with_load: bool
    ) -> list[Entry]:
        """A row for each of `routes`; without the right to see the load it is null."""
        self._forget(table)
        reports = await asyncio.gather(*map(self._reports, routes))
        entries = await asyncio.gather(*map(self._entry, routes, reports))
        loads = self.metrics.load.loads() if with_load else None
        return [
            self._row(route, entry, found, loads)
            for route, entry, found in zip(routes, entries, reports, strict=True)
        ]

    async def page(self, table: RouteTable, route: Route, *, with_load: bool) -> Entry:
        """The row of a model, with its servers; with the load also its intervals and manifest."""
        self._forget(table)
        reports = await self._reports(route)
        entry = await self._entry(route, reports)
        row = self._row(route, entry, reports, self.metrics.load.loads() if with_load else None)
        details = self._details(route)
        return {
            **row,
            "servers": [
                {"name": endpoint.name, "status": report.status, "in_flight": report.in_flight,
                 "queue_depth": report.queue_depth}
                for endpoint, report in zip(route.endpoints, reports, strict=True)
            ] if with_load and reports else [],
            "conditions": _conditions(details, with_messages=with_load),
            "namespace": route.origin.namespace if route.origin is not None else None,
            "resource": route.origin.name if route.origin is not None else None,
            "now": self.history.now(),
            "interval_seconds": INTERVAL_SECONDS,
            "number_of_intervals": INTERVALS,
            "intervals": [asdict(one) for one in self.history.intervals(route.model)]
            if with_load else None,
            "manifest": _manifest(route) if with_load else None,
        }  # fmt: skip

    def _row(
        self,
        route: Route,
        entry: Entry,
        reports: Sequence[ServerReport],
        loads: Mapping[str, ReportedLoad] | None,
    ) -> Entry:
        details = self._details(route)
        ready = sum(report.status == READY for report in reports)
        row = {
            **entry,
            "reason": entry.get("reason") or route.progress,
            "replicas": {"ready": ready, "known": len(route.endpoints)},
            "wanted": details.get("ready"),
            "progress": next((one.progress for one in reports if one.progress), None)
            or _weights(details),
            "stages": _stages(reports) or _cold_start(details),
            "price": _price(route, with_servers=loads is not None),
            "cost_per_hour": None,
            "in_flight": None, "held": None, "queue_depth": None,
            "requests_per_second": None, "tokens_per_second": None,
        }  # fmt: skip
        if loads is None:
            return row
        load = loads.get(route.model)
        requests, tokens = self.history.rates(route.model)
        queued = [one.queue_depth for one in reports if one.queue_depth is not None]
        return row | {
            "in_flight": load.in_flight if load is not None else 0,
            "held": self.held.get(route.model, 0),
            "queue_depth": sum(queued) if queued else None,
            "cost_per_hour": _cost_per_hour(route),
            "requests_per_second": round(requests, 2),
            "tokens_per_second": round(tokens, 1),
        }

    def _forget(self, table: RouteTable) -> None:
        """Drop what is known of models and servers that are gone."""
        self.servers.keep(table.endpoints())
        self.models.keep(table.endpoints())
        self.entries.keep({route.model for route in table.routes})

    async def _entry(self, route: Route, reports: Sequence[ServerReport]) -> Entry:
        steady = bool(reports) and all(report.status == READY for report in reports)

        async def query() -> tuple[Route, Entry]:
            return route, await self.models.entry(route)

        def seconds(found: tuple[Route, Entry]) -> float:
            of, entry = found
            same = of is route or (of.spec is route.spec and of.endpoints == route.endpoints)
            is_steady = same and steady and entry["state"] == READY
            return ENTRY_READY_SECONDS if is_steady else ENTRY_SECONDS

        return (await self.entries.of(route.model, query, seconds))[1]

    async def _reports(self, route: Route) -> list[ServerReport]:
        if route.spec.engine is Engine.REMOTE:
            return []
        return list(await asyncio.gather(*map(self.servers.of, route.endpoints)))

    def _details(self, route: Route) -> Mapping[str, Any]:
        if self.details is None or route.origin is None:
            return {}
        return self.details(route.origin) or {}


def _stages(reports: Sequence[ServerReport]) -> dict[str, float] | None:
    """Those of a server that is still starting, else of any."""
    starting = [one for one in reports if one.status != READY and one.stages]
    found = starting or [one for one in reports if one.stages]
    return found[0].stages if found else None


def _weights(details: Mapping[str, Any]) -> dict[str, float | None] | None:
    """The progress in `status.weights`, named as servers name it."""
    weights = details.get("weights")
    if not isinstance(weights, Mapping):
        return None
    return {name: weights.get(to_camel(name)) for name in PROGRESS}


def _cold_start(details: Mapping[str, Any]) -> dict[str, float] | None:
    """The stages in `status.coldStart`, by name without `Seconds`."""
    cold = details.get("coldStart")
    if not isinstance(cold, Mapping):
        return None
    return {
        name.removesuffix("Seconds"): float(spent)
        for name, spent in cold.items()
        if name.endswith("Seconds") and name != "totalSeconds" and isinstance(spent, int | float)
    }


def _price(route: Route, *, with_servers: bool) -> dict[str, Any] | None:
    """The price of requests and, `with_servers`, that of an hour of a server."""
    price = route.spec.price
    if price is None:
        return None
    shown = price if with_servers else price.model_copy(update={"hour": None})
    return {"currency": price.currency, **shown.to_wire()}


def _cost_per_hour(route: Route) -> float | None:
    """The price of an hour of the servers, in the currency of the price."""
    price = route.spec.price
    return None if price is None or price.hour is None else price.hour * len(route.endpoints)


def _conditions(details: Mapping[str, Any], *, with_messages: bool) -> list[Entry]:
    """The conditions of a resource. Their messages are those of scheduler, kubelet and servers, and
    name nodes, registries and resources of others."""
    found = [one for one in details.get("conditions") or () if isinstance(one, Mapping)]
    if with_messages:
        return [{**one, "message": redacted(str(one.get("message") or ""))} for one in found]
    return [{name: one[name] for name in one if name != "message"} for one in found]


def _manifest(route: Route) -> str:
    name = route.origin.name if route.origin is not None else None
    return redacted(dump_all([manifest(without_secrets(route.spec), name)]))
