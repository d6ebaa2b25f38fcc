"""Compares the cache with the API server and detects stuck watches, for /healthz.

A watch can die silently, and a relist does not report deletions. At an interval the metadata of all
objects of models is listed, one cheap request for each kind. Objects that are gone are dropped from
the cache. If an object is still older than the version listed one round ago, its watch is stuck:
/healthz fails, and the kubelet restarts the operator.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from fleet_contract.names import LABEL_MODEL
from fleet_kube.client import KubeClient
from fleet_kube.errors import KubeError
from fleet_kube.kind import Kind
from fleet_operator.controller.cache import ClusterCache
from fleet_operator.controller.work_queue import WorkQueue
from fleet_operator.kinds import CHILDREN, MODEL, POD
from fleet_operator.metrics import Metrics
from fleet_web.logs import event as log

logger = logging.getLogger(__name__)

Versions = dict[str, str]
"""uid to resourceVersion."""


class Resync:
    """`stale` holds the kinds whose watch is stuck; `reachable` is False if a list failed."""

    def __init__(
        self,
        cache: ClusterCache,
        queue: WorkQueue,
        api: KubeClient,
        metrics: Metrics,
        namespaces: tuple[str, ...],
        children: Sequence[Kind] = CHILDREN,
    ) -> None:
        self._cache = cache
        self._queue = queue
        self._api = api
        self._metrics = metrics
        self._namespaces: tuple[str | None, ...] = namespaces or (None,)
        self._kinds = (MODEL, *children, POD)
        self._behind: dict[str, Versions] = {}
        self._ghosts: dict[str, set[str]] = {}
        self._in_step: dict[str, float] = {}
        self.stale: set[str] = set()
        self.reachable = True

    async def run(self, interval: float) -> None:
        """Compare at an interval, in seconds, for ever."""
        while True:
            await asyncio.sleep(interval)
            await self.compare()

    async def compare(self) -> None:
        """Compare all kinds once."""
        try:
            for kind in self._kinds:
                await self._compare(kind)
            self.reachable = True
        except KubeError as error:
            self.reachable = False
            log(logger, "resync_failed", level=logging.WARNING, error=str(error))

    def ages(self) -> dict[str, float]:
        """Seconds since each kind's cache last matched the API server."""
        now = time.monotonic()
        return {kind: now - since for kind, since in self._in_step.items()}

    async def _compare(self, kind: Kind) -> None:
        selector = "" if kind is MODEL else LABEL_MODEL
        real: Versions = {}
        for namespace in self._namespaces:
            for item in await self._api.items(kind, namespace, selector, metadata_only=True):
                real[item["metadata"]["uid"]] = item["metadata"]["resourceVersion"]
        seen = self._cache.versions(kind.kind)
        self._drop_ghosts(kind, set(seen) - set(real))
        before = self._behind.get(kind.kind, {})
        self._behind[kind.kind] = behind(real, seen)
        if not self._behind[kind.kind]:
            self._in_step[kind.kind] = time.monotonic()
        stuck = [
            uid
            for uid, version in before.items()
            if uid in real and is_stuck(version, real[uid], seen.get(uid))
        ]
        (self.stale.add if stuck else self.stale.discard)(kind.kind)
        self._metrics.stale(kind.kind, bool(stuck))
        if stuck:
            log(logger, "watch_stuck", level=logging.ERROR, kind=kind.kind, objects=len(stuck))

    def _drop_ghosts(self, kind: Kind, missing: set[str]) -> None:
        """Drop objects that were missing from two lists in a row."""
        for uid in missing & self._ghosts.get(kind.kind, set()):
            raw = self._cache.by_uid(kind.kind, uid)
            if raw is None:
                continue
            if kind is MODEL:
                keys = self._cache.drop_model(raw)
            elif kind is POD:
                keys = self._cache.drop_pod(raw)
            else:
                keys = self._cache.drop_child(kind.kind, raw)
            self._queue.add(keys)
            self._metrics.repaired(kind.kind)
            log(logger, "deletion_was_missed", kind=kind.kind, uid=uid)
        self._ghosts[kind.kind] = missing


def behind(real: Versions, seen: Versions) -> Versions:
    """Objects, with their current versions, that the cache has in another version or not at all."""
    return {uid: version for uid, version in real.items() if seen.get(uid) != version}


def is_stuck(before: str, now: str, seen: str | None) -> bool:
    """Whether the cached version `seen` is older than `before`, the version one round ago, or
    differs from `now` although that has not changed (versions restart in a restored cluster)."""
    if seen is None:
        return True
    if seen == now:
        return False
    if seen.isdigit() and before.isdigit() and int(seen) < int(before):
        return True
    return now == before
