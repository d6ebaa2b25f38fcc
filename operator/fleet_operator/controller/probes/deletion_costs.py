"""Sets the deletion cost of a model's servers to their load, before some of them are removed.

A ReplicaSet removes the pods with the lowest cost first
(kubernetes.io/docs/concepts/workloads/controllers/replicaset, pod deletion cost), so that the idle
servers go and those with requests stay.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from fleet_contract.names import PATH_METRICS
from fleet_kube.client import KubeClient
from fleet_kube.errors import KubeError
from fleet_operator.controller.probes import pod_request
from fleet_operator.kinds import POD
from fleet_operator.resources.views import ANNOTATION_DELETION_COST, PodView
from fleet_web.logs import event as log

logger = logging.getLogger(__name__)

AT_ONCE = 32
"""Servers that are read at the same time, of all models together."""
TIMEOUT_SECONDS = 2.0
METRICS_BYTES = 4 * 1024 * 1024
LOADS = frozenset({
    "modelfleet_in_flight", "modelfleet_queue_depth",
    "vllm:num_requests_running", "vllm:num_requests_waiting",
})  # fmt: skip
"""Gauges of requests that run and wait at a server."""


class DeletionCosts:
    """Reads the servers' metrics with one HTTP session."""

    def __init__(self, api: KubeClient, http: aiohttp.ClientSession) -> None:
        self._api = api
        self._http = http
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def write(self, pods: Sequence[PodView]) -> None:
        """Set the costs of the ready ones of `pods`; one that does not respond keeps its cost."""
        ready = [pod for pod in pods if pod.active and pod.ready and pod.ip and pod.port]
        await asyncio.gather(*(self._write(pod) for pod in ready))

    async def _write(self, pod: PodView) -> None:
        async with self._slots:
            load = await fetch(self._http, pod)
            if load is None or str(load) == pod.deletion_cost:
                return
            # With the uid, so that a new pod of the same name is not changed.
            body = {"metadata": {"uid": pod.uid,
                                 "annotations": {ANNOTATION_DELETION_COST: str(load)}}}  # fmt: skip
            try:
                await self._api.merge_patch(POD, pod.namespace, pod.name, body)
            except KubeError as error:
                log(logger, "deletion_cost_not_set", level=logging.WARNING, pod=pod.name,
                    error=str(error))  # fmt: skip


async def fetch(http: aiohttp.ClientSession, pod: PodView) -> int | None:
    """Requests that run and wait at a server; None if its metrics cannot be read whole."""
    try:
        content = await pod_request.get(
            http, pod, pod.port, PATH_METRICS, TIMEOUT_SECONDS, METRICS_BYTES
        )
        return load_of(content.decode())
    except pod_request.FAILURES:
        return None


def load_of(metrics: str) -> int | None:
    """The sum of the gauges of requests in Prometheus text, None without any. Raises ValueError."""
    values = [
        sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
        if sample.name in LOADS
    ]
    return round(sum(values)) if values else None
