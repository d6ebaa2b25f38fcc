"""The reconcile loop: workers take models from the queue, decide and execute."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fleet_kube.client import KubeClient
from fleet_kube.errors import KubeError
from fleet_operator.controller.cache import ClusterCache, Key
from fleet_operator.controller.execute import Executor
from fleet_operator.controller.work_queue import WorkQueue
from fleet_operator.decide.decision import Decision
from fleet_operator.decide.observed import Observed
from fleet_operator.decide.reconcile import reconcile
from fleet_operator.kinds import REPLICA_SET
from fleet_operator.metrics import Metrics
from fleet_operator.names import LABEL_TEMPLATE
from fleet_web.logs import event as log

logger = logging.getLogger(__name__)

PASSING_SECONDS = 0.5
"""Shortest time between two writes of a status that only reports progress."""


class Controller:
    """Reconciles models from the queue; a model is never reconciled twice at a time."""

    def __init__(
        self,
        cache: ClusterCache,
        queue: WorkQueue,
        api: KubeClient,
        metrics: Metrics,
        may_write: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._cache = cache
        self._queue = queue
        self._api = api
        self._executor = Executor(api, cache)
        self._metrics = metrics
        self._may_write = may_write
        self._held: dict[Key, float] = {}

    async def run(self, workers: int) -> None:
        """Run `workers` workers until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            key = await self._queue.take()
            began = time.perf_counter()
            result = "error"
            try:
                result = await self.reconcile_one(key)
            except KubeError as error:
                log(logger, "reconcile_failed", level=logging.WARNING, model="/".join(key),
                    error=str(error))  # fmt: skip
            except Exception:
                logger.exception("reconcile_broken", extra={"fields": {"model": "/".join(key)}})
            finally:
                self._metrics.reconciled(result, time.perf_counter() - began)
                self._queue.done(key, succeeded=result != "error")

    async def reconcile_one(self, key: Key) -> str:
        """Reconcile one model; returns `unchanged`, `changed` or `error` (to be retried).

        One in a namespace that this process may not write to is left alone.
        """
        observed = self._cache.observe(key)
        if observed is None:
            self._queue.forget(key)
            self._executor.forget(key)
            self._held.pop(key, None)
            return "unchanged"
        if observed.model["metadata"].get("deletionTimestamp") or not self._may_write(key[0]):
            return "unchanged"
        observed, plan = await self._decide(observed)
        writes, refused = await self._executor.children(observed, plan)
        if refused:
            observed = replace(observed, errors=refused)
            plan = reconcile(observed)
        if plan.requeue_after is not None:
            self._queue.add_later(key, plan.requeue_after)
        if self._may_defer(key, plan):
            return "changed" if writes else "unchanged"
        written = await self._executor.status(observed, plan)
        if written is not None:
            self._store(observed, written)
            await self._executor.events(observed, plan)
        if refused:
            return "error"
        return "changed" if writes or written is not None else "unchanged"

    def _may_defer(self, key: Key, plan: Decision) -> bool:
        """Whether to defer a passing status: most are soon replaced by the next."""
        if not plan.passing:
            self._held.pop(key, None)
            return False
        now = time.monotonic()
        left = self._held.setdefault(key, now) + PASSING_SECONDS - now
        if left > 0:
            self._queue.add_later(key, left)
            return True
        del self._held[key]
        return False

    async def _decide(self, observed: Observed) -> tuple[Observed, Decision]:
        plan = reconcile(observed)
        if plan.wants_stable_template is None:
            return observed, plan
        template = await self._stable_template(observed, plan.wants_stable_template)
        if template is None:
            return observed, plan
        observed = replace(observed, stable_template=template)
        return observed, reconcile(observed)

    async def _stable_template(self, observed: Observed, version: str) -> dict[str, Any] | None:
        """Pod template of an earlier version, from its ReplicaSet; None if that is gone."""
        selector = f"{LABEL_TEMPLATE}={version}"
        found = await self._api.items(REPLICA_SET, observed.namespace, selector)
        own = {observed.deployment["metadata"]["uid"]} if observed.deployment else set()
        for item in found:
            owners = {owner["uid"] for owner in item["metadata"].get("ownerReferences") or ()}
            if owners & own:
                return stable_template(item)
        return None

    def _store(self, observed: Observed, written: dict[str, Any]) -> None:
        """Cache a written model, since the watch delivers it a little later."""
        self._cache.put_model(written)
        start = (written.get("status") or {}).get("coldStart")
        if start and start != observed.status.get("coldStart"):
            task = (written["status"] or {}).get("task", "")
            self._metrics.cold_start(task, start["totalSeconds"])


def stable_template(replica_set: dict[str, Any]) -> dict[str, Any]:
    """The template as in the Deployment, without what its controller added."""
    template = replica_set["spec"]["template"]
    meta = {key: value for key, value in template["metadata"].items() if value is not None}
    labels = {
        name: value
        for name, value in (meta.get("labels") or {}).items()
        if name != "pod-template-hash"
    }
    return {"metadata": {**meta, "labels": labels}, "spec": template["spec"]}
