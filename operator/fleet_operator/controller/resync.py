"""Compares the cache with the API server and detects stuck watches, for /healthz.

A watch can die silently, and a relist does not report deletions. At a short interval the metadata
of all objects of models is listed, at a long one that of all objects, foreign ones included. Those
that are gone are dropped from the cache. If an object of a model is still older than the version
listed one round ago, and its watch has delivered nothing since then, the watch is stuck: /healthz
fails, and the kubelet restarts the operator.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence

from fleet_contract.names import LABEL_MODEL
from fleet_kube.errors import KubeError
from fleet_kube.kind import Kind
from fleet_operator.controller.cache import ClusterCache
from fleet_operator.controller.listing import Listing
from fleet_operator.controller.work_queue import WorkQueue
from fleet_operator.kinds import MODEL
from fleet_operator.metrics import Metrics
from fleet_web.logs import event as log

logger = logging.getLogger(__name__)

Versions = dict[str, str]
"""uid to resourceVersion."""
LARGEST_SHARE = 0.1
"""Part of the time that comparisons may take: with thousands of models they need seconds."""
JITTER = 0.1
"""Intervals of full comparisons vary by this part, so that operators do not list at once."""
SPREAD_SECONDS = 60.0
"""The reconciles after a full comparison are spread over this time."""
MOST_ROUNDS = 20
"""Maximum number of rounds in which a watch that delivers events may lag behind."""


class Resync:
    """`stale` holds the kinds whose watch is stuck; `reachable` is False if a list failed."""

    def __init__(
        self,
        cache: ClusterCache,
        queue: WorkQueue,
        listing: Listing,
        metrics: Metrics,
        kinds: Sequence[Kind],
    ) -> None:
        self._cache = cache
        self._queue = queue
        self._listing = listing
        self._metrics = metrics
        self._kinds = kinds
        self._behind: dict[str, Versions] = {}
        self._rounds: dict[str, int] = {}
        self._delivered: dict[str, int] = {}
        self._in_step: dict[str, float] = {}
        self.stale: set[str] = set()
        self.reachable = True

    async def run(self, interval: float, full_interval: float) -> None:
        """Compare at intervals, in seconds, for ever."""
        due = time.monotonic() + _jittered(full_interval)
        taken = 0.0
        while True:
            await asyncio.sleep(pause(interval, taken))
            began = time.monotonic()
            await self.compare()
            taken = time.monotonic() - began
            if time.monotonic() >= due and await self.compare_all():
                due = time.monotonic() + _jittered(full_interval)

    async def compare(self) -> None:
        """Compare the objects of models once."""
        try:
            for kind in self._kinds:
                if kind.namespaced:  # nodes belong to no model
                    await self._compare(kind)
            self.reachable = True
        except KubeError as error:
            self.reachable = False
            log(logger, "resync_failed", level=logging.WARNING, error=str(error))

    async def compare_all(self) -> bool:
        """Drop all objects that are gone, whoever they belong to, and reconcile every model.

        Returns whether everything could be listed.
        """
        try:
            for kind in self._kinds:
                cached = self._cache.seen(kind.kind)
                real = {meta["uid"] async for meta in self._listing.metadata(kind)}
                self._drop(kind, cached - real)
        except KubeError as error:
            log(logger, "resync_failed", level=logging.WARNING, error=str(error))
            return False
        for key in list(self._cache.models):
            self._queue.add_later(key, random.uniform(0, SPREAD_SECONDS))  # noqa: S311 (jitter)
        return True

    def ages(self) -> dict[str, float]:
        """Seconds since each kind's cache last matched the API server."""
        now = time.monotonic()
        return {kind: now - since for kind, since in self._in_step.items()}

    async def _compare(self, kind: Kind) -> None:
        selector = "" if kind is MODEL else LABEL_MODEL
        cached = set(self._cache.versions(kind.kind))
        real: Versions = {
            meta["uid"]: meta["resourceVersion"]
            async for meta in self._listing.metadata(kind, selector)
        }
        self._drop(kind, cached - set(real))
        # Read after the list, so that what the watch delivered meanwhile is not taken for late.
        seen = self._cache.versions(kind.kind)
        before = self._behind.get(kind.kind, {})
        self._behind[kind.kind] = behind(real, seen)
        stuck = [
            uid
            for uid, version in before.items()
            if uid in real and is_stuck(version, real[uid], seen.get(uid))
        ]
        self._note_staleness(kind.kind, stuck)

    def _note_staleness(self, kind: str, stuck: list[str]) -> None:
        """Record whether the watch of a kind is stuck or only late."""
        delivered = self._metrics.delivered(kind)
        idle = delivered == self._delivered.get(kind, 0)
        self._delivered[kind] = delivered
        if not self._behind[kind]:
            self._in_step[kind] = time.monotonic()
        self._rounds[kind] = self._rounds.get(kind, 0) + 1 if stuck else 0
        stale = bool(stuck) and (idle or self._rounds[kind] > MOST_ROUNDS)
        (self.stale.add if stale else self.stale.discard)(kind)
        self._metrics.stale(kind, stale)
        if stale:
            log(logger, "watch_stuck", level=logging.ERROR, kind=kind, objects=len(stuck))

    def _drop(self, kind: Kind, gone: set[str]) -> None:
        """Drop objects that were cached before a list began that does not contain them."""
        if self._listing.in_doubt:
            return
        for uid in gone & self._cache.seen(kind.kind):
            self._queue.add(self._cache.drop(kind.kind, uid))
            self._metrics.repaired(kind.kind)
            log(logger, "deletion_was_missed", kind=kind.kind, uid=uid)


def pause(interval: float, taken: float) -> float:
    """Seconds until the next comparison, after one that took `taken` seconds."""
    return max(interval, taken / LARGEST_SHARE - taken)


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 (jitter)


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
