"""The reconcile loop: workers take models from the queue, decide and execute."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from fleet_kube.client import KubeClient
from fleet_kube.errors import ApiError, KubeError
from fleet_operator.controller.cache import ClusterCache, Key
from fleet_operator.controller.demand.yields import Yields
from fleet_operator.controller.event_writer import EventWriter
from fleet_operator.controller.execute import Executor
from fleet_operator.controller.generations import Generations
from fleet_operator.controller.probes.deletion_costs import DeletionCosts
from fleet_operator.controller.turns import RolloutTurns
from fleet_operator.controller.work_queue import WorkQueue
from fleet_operator.decide.decision import Decision
from fleet_operator.decide.observed import Observed
from fleet_operator.decide.reconcile import reconcile
from fleet_operator.decide.rollout import template_of
from fleet_operator.decide.server_set import has_generations
from fleet_operator.kinds import REPLICA_SET
from fleet_operator.metrics import Metrics
from fleet_operator.names import LABEL_TEMPLATE
from fleet_web.logs import event as log

logger = logging.getLogger(__name__)

PASSING_SECONDS = 0.5
"""Minimum time between two writes of a status that only reports progress."""


RECONCILE_SECONDS = 120.0
"""Maximum time of a reconcile, whose requests may wait as the API server demands. Liveness fails
somewhat later."""


class Delayed(Exception):
    """The API server could not process a write now; to be retried after `seconds`, 0 if it named
    no time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"to be retried after {seconds:g} s")
        self.seconds = seconds


class Controller:
    """Reconciles models from the queue; a model is never reconciled twice at a time."""

    def __init__(
        self,
        cache: ClusterCache,
        queue: WorkQueue,
        api: KubeClient,
        metrics: Metrics,
        costs: DeletionCosts | None = None,
        may_write: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._cache = cache
        self._queue = queue
        self._api = api
        self._executor = Executor(api, cache)
        self._events = EventWriter(api, lambda: queue.depth)
        self._generations = Generations(api)
        limits = {True: cache.settings.max_rollouts, False: cache.settings.max_rollouts_cpu}
        self._turns = RolloutTurns(cache, limits, queue.add)
        self._yields = Yields(cache, may_write)
        metrics.gauge("modelfleet_operator_rollouts_waiting", "Models that wait for their turn",
                      lambda: self._turns.waiting)  # fmt: skip
        self._metrics = metrics
        self._costs = costs
        self._may_write = may_write
        self._held: dict[Key, float] = {}

    async def run(self, workers: int) -> None:
        """Run `workers` workers, and write their Events, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._events.run())
            for _ in range(workers):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            key = await self._queue.take()
            began = time.perf_counter()
            result, after = "error", 0.0
            try:
                result = await self.reconcile_one(key)
            except Delayed as delayed:
                after = delayed.seconds
            except TimeoutError:
                log(logger, "reconcile_timeout", level=logging.WARNING, model="/".join(key),
                    seconds=RECONCILE_SECONDS)  # fmt: skip
            except KubeError as error:
                after = error.retry_after if isinstance(error, ApiError) else 0.0
                log(logger, "reconcile_failed", level=logging.WARNING, model="/".join(key),
                    error=str(error))  # fmt: skip
            except Exception:
                logger.exception("reconcile_broken", extra={"fields": {"model": "/".join(key)}})
            finally:
                self._metrics.reconciled(result, time.perf_counter() - began)
                self._queue.done(key, succeeded=result != "error", after=after)

    async def reconcile_one(self, key: Key) -> str:
        """Reconcile one model; returns `unchanged`, `changed` or `error` (to be retried).

        One in a namespace that this process may not write to is left alone. Raises KubeError, and
        Delayed where a write of a child failed for a transient reason: the status is kept, since
        nothing is wrong with the model. TimeoutError after RECONCILE_SECONDS.
        """
        order = self._yields.take(key)
        try:
            async with asyncio.timeout(RECONCILE_SECONDS):
                return await self._reconcile(key, order)
        except Exception:
            self._yields.restore(key, order)
            raise
        finally:
            # After errors as well: a model that is gone must not keep its turn.
            self._turns.update(key)

    async def _reconcile(self, key: Key, yields_to: str) -> str:
        observed = self._cache.observe(key)
        if observed is None:
            self._queue.forget(key)
            self._executor.forget(key)
            self._generations.forget(key)
            self._held.pop(key, None)
            return "unchanged"
        if observed.model["metadata"].get("deletionTimestamp") or not self._may_write(key[0]):
            return "unchanged"
        observed, plan = await self._decide(
            key, replace(observed, yields_to=yields_to, unplaced=self._yields.is_unplaced(key))
        )
        if plan.removes and self._costs is not None:
            await self._costs.write(observed.pods)
        outcome = await self._executor.children(observed, plan)
        if outcome.changed:
            self._queue.add([key])
        writes, failures = outcome.writes, outcome.failures
        if outcome.delayed is not None and not failures:
            raise Delayed(outcome.delayed)
        if failures:
            # Decided again, so that the status has the refusal.
            observed = replace(observed, errors=outcome.refused, undeleted=outcome.undeleted)
            plan = reconcile(observed)
        # Even if nothing was written: deadlines pass without any event.
        if plan.requeue_after is not None:
            self._queue.add_later(key, plan.requeue_after)
        if self._may_defer(key, plan):
            return "error" if failures else "changed" if writes else "unchanged"
        written = await self._executor.status(observed, plan)
        # Events follow the status: after a failed patch they are decided again.
        if written is not None:
            self._store(observed, written)
            self._events.add(observed, plan.events)
        if failures:
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

    async def _decide(self, key: Key, found: Observed) -> tuple[Observed, Decision]:
        if has_generations(found):
            found = replace(found, replica_set=await self._generations.newest(key, found))
        observed, plan = self._decide_now(key, found)
        if plan.wants_stable_template is None:
            return observed, plan
        template = await self._stable_template(observed, plan.wants_stable_template)
        if template is None:
            return observed, plan
        return self._decide_now(key, replace(found, stable_template=template))

    def _decide_now(self, key: Key, observed: Observed) -> tuple[Observed, Decision]:
        """Decide without an await between reading other rollouts and recording the decision."""
        observed = replace(
            observed,
            turn=self._turns.of(key),
            cluster=self._turns.cluster(key, observed.cluster),
        )
        plan = reconcile(observed)
        if plan.wants_neighbours:
            observed = replace(observed, neighbours=self._yields.neighbours(key))
            plan = reconcile(observed)
        self._queue.add(self._yields.decided(key, plan))
        self._turns.decided(key, plan)
        return observed, plan

    async def _stable_template(self, observed: Observed, version: str) -> dict[str, Any] | None:
        """Pod template of an earlier version, from its ReplicaSet; None if that is gone."""
        selector = f"{LABEL_TEMPLATE}={version}"
        found = await self._api.items(REPLICA_SET, observed.namespace, selector)
        own = {observed.deployment["metadata"]["uid"]} if observed.deployment else set()
        for item in found:
            owners = {owner["uid"] for owner in item["metadata"].get("ownerReferences") or ()}
            if owners & own:
                return template_of(item)
        return None

    def _store(self, observed: Observed, written: dict[str, Any]) -> None:
        """Cache a written model, since the watch delivers it a little later.

        It may contain a change that was made meanwhile. The watch's event of that change is then
        older than the cache, so the model is queued here.
        """
        affected = set(self._cache.put_model(written))
        if _desired(written) == _desired(observed.model):
            affected.discard((observed.namespace, observed.name))
        self._queue.add(affected)
        start = (written.get("status") or {}).get("coldStart")
        if start and start != observed.status.get("coldStart"):
            task = (written["status"] or {}).get("task", "")
            self._metrics.cold_start(task, start["totalSeconds"])


def _desired(model: Mapping[str, Any]) -> tuple[Any, ...]:
    """The fields of a resource that others write."""
    meta = model["metadata"]
    fields = ("generation", "annotations", "labels", "deletionTimestamp")
    return tuple(meta.get(field) for field in fields)
