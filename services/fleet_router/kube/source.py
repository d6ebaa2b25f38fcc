"""The route table of a cluster, kept current from watched InferenceModels and EndpointSlices.

The first table is published once every informer has synced, so that no existing model is unknown. A
namespace that cannot be read counts as empty, unless none can.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from fleet_contract import catalog
from fleet_contract.claims import Key
from fleet_contract.names import LABEL_MODEL
from fleet_contract.settings import BY_NAME, SERVICES
from fleet_kube.client import KubeClient
from fleet_router.kube.details import Details
from fleet_router.kube.informer import Informer
from fleet_router.kube.model_reader import ModelReader
from fleet_router.kube.objects import (
    MODEL,
    SLICE,
    ModelView,
    SliceView,
    read_slice,
    read_slice_of_service,
)
from fleet_router.kube.ready_probe import EarlyServers, ReadyProbe
from fleet_router.kube.table_index import TableIndex
from fleet_router.routing.table import Change, LiveRoutes, Origin, RouteTable
from fleet_web.logs import event

logger = logging.getLogger(__name__)

SETTLE_SECONDS = 0.02
"""Changes within this time are applied together."""
BATCH = 100
"""Routes that are computed before other tasks run."""
ALL = "*"
LOGGED = 20
"""Maximum number of models named in one log line."""


class KubeSource:
    """`namespaces` as in WATCH_NAMESPACES: names, or `*` alone for all of them. `details` is kept
    current if there is one.

    Raises ValueError for an invalid UPSTREAMS in `environ`.
    """

    def __init__(
        self,
        client: KubeClient,
        namespaces: Sequence[str],
        routes: LiveRoutes,
        environ: Mapping[str, str],
        details: Details | None = None,
    ) -> None:
        self._routes = routes
        self._table = RouteTable(ordered=True)
        self._reader = ModelReader(catalog.load(), environ, details)
        self._dirty = asyncio.Event()
        self._ready_probe = ReadyProbe()
        self._early = EarlyServers(self._ready_probe, self._touch)
        self._index = TableIndex(environ, self._early.of)
        places = [None if name == ALL else name for name in namespaces]
        self._models = [
            Informer[ModelView](client, MODEL, place, self._reader.read, self._put_model)
            for place in places
        ]
        by_service = BY_NAME["UPSTREAMS"].read(environ) == SERVICES
        read = read_slice_of_service if by_service else read_slice
        self._slices = [
            Informer[SliceView](client, SLICE, place, read, self._put_slice, LABEL_MODEL)
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

    def unreadable(self) -> Iterator[tuple[str, str, bool]]:
        """Namespace and kind of every informer, and whether it may not read them."""
        for each in self._informers:
            yield each.namespace or ALL, each.kind.kind, each.unreadable

    @property
    def _informers(self) -> list[Informer[ModelView] | Informer[SliceView]]:
        return [*self._models, *self._slices]

    async def watch(self) -> None:
        """Keep the routes current, for ever."""
        async with asyncio.TaskGroup() as group:
            for informer in self._informers:
                group.create_task(informer.follow())
            group.create_task(self._keep_table())
            group.create_task(self._early.run(self._index.starting))

    def _put_model(self, key: Key | None, view: ModelView | None) -> None:
        if key is not None:
            self._index.put_model(key, view)
            if view is None:
                self._reader.forget(key)
        self._dirty.set()

    def _put_slice(self, key: Key | None, view: SliceView | None) -> None:
        if key is not None:
            self._index.put_slice(key, view)
        self._dirty.set()

    def _touch(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._index.touch(key)
        self._dirty.set()

    async def _keep_table(self) -> None:
        while True:
            await self._dirty.wait()
            # Before `clear`, so that changes during the pause belong to this update.
            await asyncio.sleep(SETTLE_SECONDS)
            self._dirty.clear()
            if self._is_complete():
                await self._update()

    def _is_complete(self) -> bool:
        """Whether everything readable was read, and at least one namespace is readable."""
        groups = (self._models, self._slices)
        settled = all(each.settled for each in self._informers)
        return settled and all(any(each.synced for each in group) for group in groups)

    async def _update(self) -> None:
        changes = []
        while self._index.stale:
            started = time.perf_counter()
            change = self._index.update(BATCH)
            changes.append(change)
            if self._routes.table is None:
                self._table.apply(change)
            else:
                self._routes.apply(change)
            # The table takes at most a fifth of the time, at any rate of changes.
            await asyncio.sleep(4 * (time.perf_counter() - started))
        if self._routes.table is None:
            gc.collect()
            gc.freeze()  # the collector need not examine thousands of routes again and again
            self._routes.swap(self._table)
            event(logger, "routes_loaded", models=len(self._table.routes))
        else:
            _log(changes)


def _log(changes: Sequence[Change]) -> None:
    """Log which models have another number of servers."""
    before = {one.model: len(one.endpoints) for each in changes for one in each.removed}
    now = {one.model: len(one.endpoints) for each in changes for one in each.added}
    changed = sorted(model for model in before | now if before.get(model) != now.get(model))
    if changed:
        event(logger, "routes_changed", models=len(changed),
              servers={model: now.get(model) for model in changed[:LOGGED]})  # fmt: skip
