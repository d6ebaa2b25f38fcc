"""Requests the load reports of all routers, for models that scale by load.

Loads go into the cache, and models whose load changed into the queue. If no model scales by load,
nothing is requested.
"""

from __future__ import annotations

import asyncio
import logging
import time

import aiohttp

from fleet_contract.api import load_report
from fleet_contract.names import PATH_LOAD
from fleet_contract.spec import ModelSpec
from fleet_operator.controller.cache import ClusterCache, Key
from fleet_operator.controller.probes import pod_request
from fleet_operator.controller.work_queue import WorkQueue
from fleet_operator.decide.scaling import autoscale
from fleet_operator.decide.scaling.load import FleetLoad, Report
from fleet_operator.periodic import repeat
from fleet_operator.resources.resolve import Resolver
from fleet_operator.resources.views import PodView
from fleet_operator.settings import OperatorSettings
from fleet_web.logs import event as log

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 3.0
REPORT_BYTES = 4 * 1024 * 1024
"""Some 50,000 models."""


class Scraper:
    """Requests the reports of all routers with one HTTP session."""

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
        """Request reports at the autoscaling interval, for ever."""
        await repeat(self.scrape, self._settings.autoscale_interval, logger, "scraping_failed")

    async def scrape(self) -> None:
        """Request the report of every router once."""
        scaled = self._scaled()
        if not scaled:
            self._cache.load = FleetLoad()
            return
        routers = [pod for pod in self._cache.pods.values() if self._counts(pod)]
        reports = await asyncio.gather(*(self._report(pod) for pod in routers))
        before = self._cache.load
        after = before.updated(
            {pod.uid: report for pod, report in zip(routers, reports, strict=True)}, time.time()
        )
        self._cache.load = after
        for pod in routers:
            if pod.uid in after.forgotten() - before.forgotten():
                log(logger, "router_forgotten", level=logging.ERROR, router=pod.name,
                    hint="its load does not count until it responds")  # fmt: skip
        self._queue.add(
            key
            for key, spec in scaled.items()
            if (model := self._cache.models.get(key)) is not None
            for name in self._cache.ids(model)[:1]
            if autoscale.is_news(spec, before.of(name), after.of(name))
        )

    def _scaled(self) -> dict[Key, ModelSpec]:
        """Specs of the models that scale by load, by key."""
        found: dict[Key, ModelSpec] = {}
        for key, raw in self._cache.models.items():
            spec = self._resolver.resolve(raw).spec
            if spec is not None and autoscale.is_on(spec):
                found[key] = spec
        return found

    def _counts(self, pod: PodView) -> bool:
        """Whether a pod is a router that serves requests: ready, or draining."""
        # One that drains still has requests in flight, which need their servers.
        serves = pod.phase == "Running" and (pod.ready or pod.deleting)
        return serves and pod_request.is_router(pod, self._settings)

    async def _report(self, pod: PodView) -> Report | None:
        """The router's report; None if it does not respond with a complete one."""
        port = self._settings.router_port
        try:
            return load_report.parse(
                await pod_request.get(
                    self._http, pod, port, PATH_LOAD, TIMEOUT_SECONDS, REPORT_BYTES
                )
            )
        except pod_request.FAILURES as error:
            if pod.uid not in self._cache.load.forgotten():
                log(logger, "router_silent", level=logging.WARNING, router=pod.name,
                    error=repr(error))  # fmt: skip
            return None
