"""Probes /readyz of model servers: of starting ones in every round, of ready ones once.

Reports go into the cache. Requests are bounded in number, seconds and bytes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable

import aiohttp
import orjson

from fleet_contract.names import PATH_READY
from fleet_contract.server_protocol import ServerPhase
from fleet_operator.controller.cache import ClusterCache
from fleet_operator.controller.probes import pod_request
from fleet_operator.controller.probes.pod_events import PodEvents
from fleet_operator.controller.work_queue import WorkQueue
from fleet_operator.periodic import repeat
from fleet_operator.resources.views import PodView
from fleet_operator.server_report import ServerReport

logger = logging.getLogger(__name__)

AT_ONCE = 32
TIMEOUT_SECONDS = 2.0
RESPONSE_BYTES = 64 * 1024
TRIES = 5
"""Probes of a ready server that returns no report; images of other projects never return one."""


class Prober:
    """Probes all pods with one HTTP session."""

    def __init__(
        self, cache: ClusterCache, queue: WorkQueue, http: aiohttp.ClientSession, events: PodEvents
    ) -> None:
        self._cache = cache
        self._queue = queue
        self._events = events
        self._http = http
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tries: dict[str, int] = {}

    async def run(self, interval: float) -> None:
        """Probe at an interval, in seconds, for ever."""
        await repeat(self._round, interval, logger, "probing_failed")

    async def _round(self) -> None:
        await self.probe_all()
        changed = await self._events.refresh(time.time())
        self._queue.add([(pod.namespace, pod.model) for pod in changed])

    async def probe_all(self) -> None:
        """Probe all pods that are due."""
        pods = list(due(self._cache.pods.values(), self._cache.reports, self._tries))
        await asyncio.gather(*(self._probe(pod) for pod in pods))
        self._tries = {uid: n for uid, n in self._tries.items() if uid in self._cache.pods}

    async def _probe(self, pod: PodView) -> None:
        async with self._slots:
            report = await fetch(self._http, pod)
        if pod.ready:
            self._tries[pod.uid] = self._tries.get(pod.uid, 0) + 1
        # The pod may be gone since the request was sent; its report would stay in the cache.
        if report is None or pod.uid not in self._cache.pods:
            return
        if self._cache.reports.get(pod.uid) != report:
            self._cache.reports[pod.uid] = report
            self._queue.add([(pod.namespace, pod.model)])


def due(
    pods: Iterable[PodView], reports: dict[str, ServerReport], tries: dict[str, int]
) -> Iterable[PodView]:
    """Running servers that are not ready, and ready ones whose last report was another phase."""
    for pod in pods:
        if not pod.model or not pod.ip or not pod.port or not pod.active or pod.started is None:
            continue
        known = reports.get(pod.uid)
        settled = known is not None and known.phase == ServerPhase.READY
        if not pod.ready or (not settled and tries.get(pod.uid, 0) < TRIES):
            yield pod


async def fetch(http: aiohttp.ClientSession, pod: PodView) -> ServerReport | None:
    """A server's report; None if it cannot be read."""
    try:
        # A server that is not ready reports why with a 503.
        content = await pod_request.get(
            http, pod, pod.port, PATH_READY, TIMEOUT_SECONDS, RESPONSE_BYTES, any_status=True
        )
        return ServerReport.parse(orjson.loads(content))
    except pod_request.FAILURES:
        return None
