"""Keeps the budget of rollouts over all models, and the capacity that begun rollouts will take.

All methods are synchronous: a model that may begin counts as rolling before another is decided.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

from fleet_operator.controller.cache import ClusterCache, Key
from fleet_operator.decide.decision import Beginning, Decision
from fleet_operator.decide.observed import Observed
from fleet_operator.decide.rollout import is_rolling
from fleet_operator.decide.rollout_strategy import Cluster
from fleet_operator.decide.server_set import TRANSIENT, applied_version
from fleet_operator.decide.turn import Turn
from fleet_operator.quantity import add
from fleet_operator.resources.views import is_accelerated
from fleet_operator.rollout_limit import Limit

FAILING_SECONDS = 600.0
"""Time after which a rollout that fails no longer keeps others from beginning."""
FAILING_PHASES = frozenset({"Failed", "Degraded"})
SHOWN = 10
"""Maximum number of models passed to a decision, which names a few."""


@dataclass(frozen=True, slots=True)
class NodeReservation:
    """A rollout's requests on a node; `is_due` until its pod is there and counts itself."""

    begun: Beginning
    is_due: bool


class RolloutTurns:
    """`limits` maps whether a model has accelerators to the limit of such rollouts.

    `wake` enqueues models that may begin now.
    """

    def __init__(
        self,
        cache: ClusterCache,
        limits: dict[bool, Limit],
        wake: Callable[[Iterable[Key]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cache = cache
        self._limits = limits
        self._wake = wake
        self._clock = clock
        self._accelerated: dict[Key, bool] = {}
        self._rolling: dict[Key, bool] = {}
        self._waiting: dict[Key, bool] = {}
        self._failing: dict[Key, float] = {}
        self._reserved: dict[Key, NodeReservation] = {}
        self._seeded = False

    def of(self, key: Key) -> Turn:
        """The models whose rollouts come before that of `key`."""
        if not self._seeded:
            self._seeded = True
            # After a restart, rollouts in progress must count before the first decision.
            for other in list(self._cache.models):
                self.update(other)
        return Turn(self._ahead(key, True), self._ahead(key, False))

    def cluster(self, key: Key, cluster: Cluster | None) -> Cluster | None:
        """The nodes, with what other rollouts will take of them."""
        due = [one.begun for other, one in self._reserved.items() if one.is_due and other != key]
        if cluster is None or not due:
            return cluster
        taken: dict[str, dict[str, int]] = {}
        for begun in due:
            sums = taken.setdefault(begun.node, dict(cluster.used.get(begun.node, {})))
            add(sums, {"pods": 1000, **begun.requests})
        return Cluster(cluster.nodes, {**cluster.used, **taken})

    def decided(self, key: Key, plan: Decision) -> None:
        """Record what was decided for a model, before another is decided."""
        if plan.waits is not None:
            # Keeps the place of a model that already waits: the dict is the queue.
            self._waiting.setdefault(key, plan.waits)
            return
        waited = self._waiting.pop(key, None)
        if plan.begins is not None:
            self._rolling[key] = plan.begins.accelerated
            if plan.begins.node:
                self._reserved[key] = NodeReservation(plan.begins, not plan.begins.hands_over)
        elif waited is not None:
            self._wake_next()

    def update(self, key: Key) -> None:
        """Update what is known of a model after a reconcile."""
        observed = self._cache.observe(key)
        if observed is None:
            self.forget(key)
            return
        if observed.deployment is not None:
            pod = observed.deployment["spec"]["template"].get("spec") or {}
            self._accelerated[key] = is_accelerated(pod)
        if not is_rolling(observed):
            self._ended(key)
            return
        self._rolling.setdefault(key, self._accelerated.get(key, False))
        self._reserve(key, observed)
        self._note_failure(key, observed)

    def forget(self, key: Key) -> None:
        """Drop a deleted model."""
        self._accelerated.pop(key, None)
        waited = self._waiting.pop(key, None)
        self._ended(key)
        if waited is not None:
            self._wake_next()

    @property
    def waiting(self) -> int:
        """Number of models that wait for their turn."""
        return len(self._waiting)

    def _ended(self, key: Key) -> None:
        self._reserved.pop(key, None)
        self._failing.pop(key, None)
        if self._rolling.pop(key, None) is not None:
            self._wake_next()

    def _ahead(self, key: Key, accelerated: bool) -> tuple[str, ...]:
        if key in self._rolling:
            return ()
        free = self._free(accelerated)
        if free is None:
            return ()
        queued: list[Key] = []
        for other, kind in self._waiting.items():
            if other == key or len(queued) >= max(free, SHOWN):
                break
            if kind == accelerated:
                queued.append(other)
        if len(queued) < free:
            return ()
        first = islice((*self._counted(accelerated), *queued), SHOWN)
        return tuple("/".join(other) for other in first)

    def _free(self, accelerated: bool) -> int | None:
        """Rollouts that may begin now; None without a limit."""
        limit = self._limits[accelerated]
        if limit.is_none:
            return None
        models = sum(kind == accelerated for kind in self._accelerated.values())
        return max(0, limit.of(models) - len(self._counted(accelerated)))

    def _counted(self, accelerated: bool) -> list[Key]:
        """Rollouts under way, without those that have been failing for long."""
        long_ago = self._clock() - FAILING_SECONDS
        return [
            key
            for key, kind in self._rolling.items()
            if kind == accelerated and self._failing.get(key, long_ago + 1) > long_ago
        ]

    def _reserve(self, key: Key, observed: Observed) -> None:
        """A pod with a node counts itself; an old one that hands over counts until it is gone."""
        kept = self._reserved.get(key)
        if kept is None:
            return
        version = applied_version(observed.deployment)
        if any(pod.node and pod.template == version for pod in observed.present):
            del self._reserved[key]
            return
        old = any(pod.node == kept.begun.node for pod in observed.present)
        self._reserved[key] = NodeReservation(kept.begun, not (kept.begun.hands_over and old))

    def _note_failure(self, key: Key, observed: Observed) -> None:
        status = observed.status
        if status.get("phase") in FAILING_PHASES or status.get("reason") in TRANSIENT:
            self._failing.setdefault(key, self._clock())
        else:
            self._failing.pop(key, None)

    def _wake_next(self) -> None:
        for accelerated in (True, False):
            free = self._free(accelerated)
            queued = (key for key, kind in self._waiting.items() if kind == accelerated)
            self._wake(list(islice(queued, free)))
