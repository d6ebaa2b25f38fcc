"""Compares models whose traffic weight rises with the primaries of their groups.

The counters of all routers are read from their metrics. Comparisons go into the cache, and their
models into the queue. If no weight is rising, nothing is requested.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from fleet_contract.names import PATH_METRICS
from fleet_contract.server_protocol import ROUTER_REQUESTS
from fleet_contract.status import TrafficShare
from fleet_operator.controller.cache import ClusterCache, Key
from fleet_operator.controller.probes import pod_request
from fleet_operator.controller.work_queue import WorkQueue
from fleet_operator.decide.observed import Comparison, Tally
from fleet_operator.decide.status import read_part
from fleet_operator.decide.traffic.canary import COMPLETE, RISING
from fleet_operator.periodic import repeat
from fleet_operator.resources.resolve import Resolver
from fleet_operator.resources.views import PodView
from fleet_operator.settings import OperatorSettings
from fleet_web.logs import event as log

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 5.0
METRICS_BYTES = 64 * 1024 * 1024
"""A router has several series for each combination of model, path, key and status."""
REQUESTS = f"{ROUTER_REQUESTS}_total"
FIRST_BYTE = "modelfleet_router_first_byte_seconds"
HELD = "modelfleet_router_held_seconds"
NAMES = (REQUESTS, f"{FIRST_BYTE}_sum", f"{FIRST_BYTE}_count", f"{HELD}_sum")
ABANDONED = "499"
"""Code of a request whose client disconnected."""
OF_ROUTER = frozenset({"401", "403", "429", ABANDONED})
"""4xx that the router responds with itself, or that say nothing about what the model can do."""

Tallies = Mapping[str, Tally]
"""By model id."""


class TrafficProber:
    """Reads the counters at an interval; the state at the beginning of each weight is kept."""

    def __init__(
        self,
        cache: ClusterCache,
        queue: WorkQueue,
        resolver: Resolver,
        http: aiohttp.ClientSession,
        settings: OperatorSettings,
    ) -> None:
        self._cache = cache
        self._queue = queue
        self._resolver = resolver
        self._http = http
        self._settings = settings
        self._began: dict[Key, tuple[str, dict[str, Tallies]]] = {}
        """`since` of the weight and the counters of each router at that time."""

    async def run(self) -> None:
        """Compare at the autoscaling interval, for ever."""
        interval = self._settings.autoscale_interval
        await repeat(self.compare, interval, logger, "traffic_comparison_failed")

    async def compare(self) -> None:
        """Compare all models whose weight is rising once."""
        rising = self._rising()
        self._began = {key: found for key, found in self._began.items() if key in rising}
        self._cache.comparisons = {
            key: found for key, found in self._cache.comparisons.items() if key in rising
        }
        if not rising:
            return
        routers = [
            pod
            for pod in self._cache.pods.values()
            if pod.ready and pod_request.is_router(pod, self._settings)
        ]
        read = await asyncio.gather(*(self._tallies(pod) for pod in routers))
        now = {pod.uid: one for pod, one in zip(routers, read, strict=True) if one is not None}
        if not now:
            return
        complete = len(now) == len(routers)
        for key, (since, own, primary) in rising.items():
            began = self._began.get(key)
            if began is None or began[0] != since:
                self._began[key] = (since, dict(now))
                continue
            # A router that was added later is compared with its first counters.
            for router, counters in now.items():
                began[1].setdefault(router, counters)
            self._cache.comparisons[key] = Comparison(
                since, growth(now, began[1], own), growth(now, began[1], primary), complete
            )
            self._queue.add([key])

    def _rising(self) -> dict[Key, tuple[str, str, str]]:
        """Since when, own model id and primary's, of models whose weight may change."""
        found: dict[Key, tuple[str, str, str]] = {}
        for key, raw in self._cache.models.items():
            spec = self._resolver.resolve(raw).spec
            past = read_part(TrafficShare, (raw.get("status") or {}).get("traffic"))
            if spec is None or spec.traffic is None or spec.traffic.rise is None or past is None:
                continue
            primary = self._primary(key[0], spec.traffic.group)
            own = self._cache.ids(raw)[0]
            if past.reason in (RISING, COMPLETE) and primary not in (None, own):
                found[key] = (past.since, own, str(primary))
        return found

    def _primary(self, namespace: str, group: str) -> str | None:
        """The primary's id as clients send it."""
        for key, raw in self._cache.models.items():
            if key[0] == namespace:
                spec = self._resolver.resolve(raw).spec
                if spec is not None and group in spec.ids:
                    return self._cache.ids(raw)[0]
        return None

    async def _tallies(self, pod: PodView) -> Tallies | None:
        port = self._settings.router_port
        try:
            content = await pod_request.get(
                self._http, pod, port, PATH_METRICS, TIMEOUT_SECONDS, METRICS_BYTES
            )
            return tallies(content.decode().splitlines())
        except pod_request.FAILURES as error:
            log(logger, "router_silent", level=logging.WARNING, router=pod.name, error=repr(error))
            return None


def tallies(lines: Iterable[str]) -> dict[str, Tally]:
    """The counters of each model in the Prometheus text of a router. Raises ValueError."""
    counted = "\n".join(line for line in lines if line.startswith(NAMES))
    found: dict[str, Tally] = {}
    for family in text_string_to_metric_families(counted + "\n"):
        for name, labels, value, *_ in family.samples:
            old = found.get(labels["model"], Tally())
            if name == REQUESTS:
                code = labels["code"]
                failed = int(value) if code.startswith("5") else 0
                left = int(value) if code == ABANDONED else 0
                rejected = int(value) if code.startswith("4") and code not in OF_ROUTER else 0
                new = old._replace(
                    requests=old.requests + int(value),
                    errors=old.errors + failed,
                    abandoned=old.abandoned + left,
                    rejected=old.rejected + rejected,
                )
            elif name == f"{HELD}_sum":
                new = old._replace(held_seconds=old.held_seconds + value)
            elif name.endswith("_sum"):
                new = old._replace(first_byte_seconds=old.first_byte_seconds + value)
            else:
                new = old._replace(first_bytes=old.first_bytes + int(value))
            found[labels["model"]] = new
    return found


def growth(now: Mapping[str, Tallies], began: Mapping[str, Tallies], model: str) -> Tally:
    """What the counters of a model have grown by since `began`, over the routers of `now`.

    The counters of a router that has restarted count from zero.
    """
    total = Tally()
    for router, models in now.items():
        after, before = models.get(model, Tally()), began.get(router, {}).get(model, Tally())
        if after.requests < before.requests:
            before = Tally()
        total = Tally._make(a + b - c for a, b, c in zip(total, after, before, strict=True))
    return total
