"""Passes decisions of models that fit nowhere to the models that stop for them.

Only in memory: after a restart, a model that still waits decides again. All methods are
synchronous.
"""

from __future__ import annotations

from collections.abc import Callable

from fleet_contract.spec import ModelSpec
from fleet_operator.controller.cache import ClusterCache, Key
from fleet_operator.decide.decision import Decision
from fleet_operator.decide.observed import Observed
from fleet_operator.decide.scaling.autoscale import Load
from fleet_operator.decide.scaling.neighbours import Candidate, Neighbours
from fleet_operator.decide.yielding.candidate import candidate, leaving
from fleet_operator.resources.views import PodView, Raw


class Yields:
    """`may_write` is whether this process may stop the models of a namespace."""

    def __init__(self, cache: ClusterCache, may_write: Callable[[str], bool]) -> None:
        self._cache = cache
        self._may_write = may_write
        self._orders: dict[Key, str] = {}

    def take(self, key: Key) -> str:
        """The model (namespace/name) that this one should make room for, "" for none. An order
        holds for one decision: one that cannot be followed is given again while it is needed."""
        return self._orders.pop(key, "")

    def restore(self, key: Key, order: str) -> None:
        """Put back an order whose decision could not be written: servers may be stopped already,
        which only the status tells the next decision."""
        if order:
            self._orders.setdefault(key, order)

    def is_unplaced(self, key: Key) -> bool:
        """Whether the model that this one has yielded to still waits for a node."""
        scaling = (self._cache.models[key].get("status") or {}).get("scaling") or {}
        namespace, _, model = (scaling.get("yieldedTo") or "").partition("/")
        pods = self._cache.model_pods((namespace, model)) if model else ()
        return any(pod.active and not pod.node for pod in pods)

    def neighbours(self, key: Key) -> Neighbours:
        """The models that could make room for `key`."""
        name = "/".join(key)
        candidates: list[Candidate] = []
        gone: list[PodView] = []
        users = self._loads_by_fallback()
        for other in self._cache.models:
            observed = self._observed(other) if other != key else None
            if observed is None:
                continue
            loads = [load for one in self._cache.ids(observed.model) for load in users.get(one, ())]
            found = candidate(observed, loads)
            if found is not None:
                candidates.append(found)
            gone += leaving(observed, name)
        return Neighbours(candidates, gone)

    def decided(self, key: Key, plan: Decision) -> list[Key]:
        """Record the models that stop for `key`; returns them, to be reconciled."""
        found: list[Key] = []
        for name in plan.yields:
            namespace, _, model = name.partition("/")
            self._orders[namespace, model] = "/".join(key)
            found.append((namespace, model))
        return found

    def _observed(self, key: Key) -> Observed | None:
        """A model with pods that may yield, or whose servers are being stopped; else None."""
        spec, raw = self._cache.spec(key), self._cache.models[key]
        if spec is None or not self._cache.model_pods(key):
            return None
        may_yield = spec.yields_after is not None and self._may_write(key[0])
        # Of most models neither: a snapshot of each, for each that waits, would take too long.
        return self._cache.observe(key) if may_yield or _is_emptied(spec, raw) else None

    def _loads_by_fallback(self) -> dict[str, list[Load]]:
        """The loads of models with a fallback, by its id: it may be what serves their requests."""
        found: dict[str, list[Load]] = {}
        for key, raw in self._cache.models.items():
            spec = self._cache.spec(key)
            if spec is None or spec.fallback is None:
                continue
            load = self._cache.load.of(self._cache.ids(raw)[0])
            if load is not None:
                for target in {spec.fallback, *self._cache.prefixed(raw, (spec.fallback,))}:
                    found.setdefault(target, []).append(load)
        return found


def _is_emptied(spec: ModelSpec, raw: Raw) -> bool:
    """Whether the model is to have no servers: by its autoscaling, else by its spec."""
    scaling = (raw.get("status") or {}).get("scaling")
    if scaling:
        return not scaling.get("desiredReplicas")
    return spec.stopped or spec.replicas == 0
