"""Scrapes the metrics of all routers for the load of models that scale by it.

Loads go into the cache, and models whose load changed into the queue. If no model scales by load,
nothing is scraped.
"""

from __future__ import annotations

import asyncio
import logging

import aiohttp

from fleet_operator.controller.cache import ClusterCache, Key
from fleet_operator.controller.work_queue import WorkQueue
from fleet_operator.decide import autoscale
from fleet_operator.decide.load import FleetLoad, RouterReport, parse_metrics
from fleet_operator.periodic import repeat
from fleet_operator.resources.resolve import Resolver
from fleet_operator.resources.views import PodView
from fleet_operator.settings import OperatorSettings
from fleet_web.logs import event as log

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 3.0
METRICS_BYTES = 16 * 1024 * 1024


class Scraper:
    """Scrapes all routers with one HTTP session."""

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

    async def run(self) -> None:
        """Scrape at the autoscaling interval, for ever."""
        await repeat(self.scrape, self._settings.autoscale_interval, logger, "scraping_failed")

    async def scrape(self) -> None:
        """Scrape every router once."""
        scaled = self._scaled()
        if not scaled:
            return
        routers = [pod for pod in self._cache.pods.values() if self._is_router(pod)]
        reports = await asyncio.gather(*(self._scrape(pod) for pod in routers))
        before, self._cache.load = self._cache.load, FleetLoad(tuple(reports))
        changed = [
            key
            for key, model in scaled.items()
            if before.of(key[0], model) != self._cache.load.of(key[0], model)
        ]
        self._queue.add(changed)

    def _scaled(self) -> dict[Key, str]:
        """Ids of the models that scale by load, by key."""
        found: dict[Key, str] = {}
        for key, raw in self._cache.models.items():
            spec = self._resolver.resolve(raw).spec
            if spec is not None and autoscale.is_on(spec):
                found[key] = spec.model
        return found

    def _is_router(self, pod: PodView) -> bool:
        """Whether a pod is a running router, draining ones included."""
        selector = self._settings.router_selector
        running = bool(pod.ip) and pod.phase == "Running"
        return running and all(pod.labels.get(key) == value for key, value in selector.items())

    async def _scrape(self, pod: PodView) -> RouterReport:
        host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
        url = f"http://{host}:{self._settings.router_port}{self._settings.router_metrics_path}"
        try:
            async with (
                asyncio.timeout(TIMEOUT_SECONDS),
                self._http.get(url, allow_redirects=False) as response,
            ):
                response.raise_for_status()
                content = await response.content.read(METRICS_BYTES)
            models = parse_metrics(content.decode("utf-8", "replace").splitlines())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            log(logger, "router_silent", level=logging.WARNING, router=pod.name, error=repr(error))
            return RouterReport(pod.namespace, pod.name, None)
        return RouterReport(pod.namespace, pod.name, models)
