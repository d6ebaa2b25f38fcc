"""The route table of a cluster, kept current from watched InferenceModels and EndpointSlices.

The first table is published once every informer has synced, so that no existing model is unknown.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from fleet_contract import catalog
from fleet_contract.names import LABEL_MODEL
from fleet_contract.settings import BY_NAME, SERVICES
from fleet_kube.client import Json, KubeClient
from fleet_router.kube.build_table import build
from fleet_router.kube.informer import Informer
from fleet_router.kube.objects import (
    MODEL,
    SLICE,
    ModelView,
    SliceView,
    read_model,
    read_slice,
    read_slice_of_service,
)
from fleet_router.kube.ready_probe import EarlyServers, ReadyProbe
from fleet_router.routing.table import Endpoint, LiveRoutes, Origin, RouteTable
from fleet_web.logs import event

logger = logging.getLogger(__name__)

SETTLE_SECONDS = 0.02
"""Changes within this time are built into one table."""
ALL = "*"
LOGGED = 20
"""Most models named in one log line."""


class KubeSource:
    """`namespaces` as in WATCH_NAMESPACES: names, or `*` alone for all of them.

    Raises ValueError for an invalid UPSTREAMS in `environ`.
    """

    def __init__(
        self,
        client: KubeClient,
        namespaces: Sequence[str],
        routes: LiveRoutes,
        environ: Mapping[str, str],
    ) -> None:
        self._routes = routes
        self._environ = environ
        self._catalog = catalog.load()
        self._dirty = asyncio.Event()
        self._ready_probe = ReadyProbe()
        self._early = EarlyServers(self._ready_probe, self._dirty.set)
        self._problems: dict[tuple[str, str], str] = {}
        places = [None if name == ALL else name for name in namespaces]
        changed = self._dirty.set
        self._models = [
            Informer[ModelView](client, MODEL, place, self._read_model, changed) for place in places
        ]
        by_service = BY_NAME["UPSTREAMS"].read(environ) == SERVICES
        read = read_slice_of_service if by_service else read_slice
        self._slices = [
            Informer[SliceView](client, SLICE, place, read, changed, LABEL_MODEL)
            for place in places
        ]

    def expect(self, origin: Origin) -> None:
        """Probe starting servers of `origin`, for which a request waits."""
        self._early.expect((origin.namespace, origin.name))

    async def close(self) -> None:
        """Close the connections of the readiness probe."""
        await self._ready_probe.close()

    def age(self) -> float:
        """Seconds since the last response to the informer that has waited longest for one."""
        return time.monotonic() - min(each.last_response for each in self._informers)

    @property
    def _informers(self) -> list[Informer[ModelView] | Informer[SliceView]]:
        return [*self._models, *self._slices]

    async def watch(self) -> None:
        """Keep the routes current, for ever."""
        async with asyncio.TaskGroup() as group:
            for informer in self._informers:
                group.create_task(informer.follow())
            group.create_task(self._keep_table())
            group.create_task(self._early.run(self._starting))

    def _starting(self) -> dict[tuple[str, str], tuple[Endpoint, ...]]:
        found: dict[tuple[str, str], tuple[Endpoint, ...]] = {}
        for each in self._slices:
            for view in each.objects.values():
                key = view.namespace, view.model
                found[key] = found.get(key, ()) + view.starting
        return found

    async def _keep_table(self) -> None:
        while True:
            await self._dirty.wait()
            await asyncio.sleep(SETTLE_SECONDS)
            self._dirty.clear()
            if all(each.synced for each in self._informers):
                started = time.perf_counter()
                try:
                    self._swap()
                except Exception as error:
                    logger.error("the route table could not be built", exc_info=error)
                # At most a fifth of the time goes into tables, however fast changes come.
                await asyncio.sleep(4 * (time.perf_counter() - started))

    def _swap(self) -> None:
        table = build(
            (view for each in self._models for view in each.objects.values()),
            (
                replace(view, endpoints=view.endpoints + self._early.of(view))
                for each in self._slices
                for view in each.objects.values()
            ),
            self._environ,
        )
        old = self._routes.table
        if old is not None and (old.routes, old.refused) == (table.routes, table.refused):
            return
        self._routes.swap(table)
        before, now = _servers(old), _servers(table)
        changed = sorted(model for model in before | now if before.get(model) != now.get(model))
        if changed or old is None:
            event(logger, "routes_loaded", models=len(now), servers=sum(now.values()),
                  changed={model: now.get(model) for model in changed[:LOGGED]})  # fmt: skip

    def _read_model(self, item: Json) -> ModelView:
        view = read_model(item, self._catalog, self._environ)
        key = view.namespace, view.name
        if view.problem and self._problems.get(key) != view.problem:
            event(logger, "model_unreadable", level=logging.ERROR, namespace=view.namespace,
                  resource=view.name, error=view.problem)  # fmt: skip
        if view.problem:
            self._problems[key] = view.problem
        else:
            self._problems.pop(key, None)
        return view


def _servers(table: RouteTable | None) -> dict[str, int]:
    """Number of servers by model id."""
    routes = table.routes if table is not None else ()
    return {route.model: len(route.endpoints) for route in routes}
