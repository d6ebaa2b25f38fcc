"""Computes the routes of a cluster from its resources, only those that a change affects. Pure.

A model is served without the aliases that another model owns (see fleet_contract.claims). A model
whose id belongs to another model is not served; requests for its own aliases are refused with the
reason.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import islice

from fleet_contract.claims import Claimants, Key, NameClaim, prefixed
from fleet_contract.settings import BY_NAME
from fleet_contract.status import DUPLICATE_MODEL, INVALID_SPEC, Phase
from fleet_router.kube.objects import ModelView, SliceView
from fleet_router.routing.remote import with_remote
from fleet_router.routing.table import Change, Endpoint, Origin, Route

logger = logging.getLogger(__name__)

EarlyEndpoints = Callable[[SliceView], tuple[Endpoint, ...]]


class TableIndex:
    """The resources by key, and the route that each of them has in the table.

    `environ` holds the API keys of remote models, and ID_PREFIXES: servers know their models
    without the prefix of the namespace. Raises ValueError for invalid ones. `early` returns servers
    of a slice that are ready but not yet listed as such.
    """

    def __init__(self, environ: Mapping[str, str], early: EarlyEndpoints = lambda view: ()) -> None:
        self._environ = environ
        self._prefixes: dict[str, str] = BY_NAME["ID_PREFIXES"].read(environ)
        self._early = early
        self._models: dict[Key, ModelView] = {}
        self._slices: dict[Key, SliceView] = {}
        self._of_model: dict[Key, dict[Key, SliceView]] = defaultdict(dict)
        self._claimants = Claimants(self._prefixes)
        self._routes: dict[Key, Route] = {}
        self._stale: dict[Key, set[Key]] = {}
        """With each the resources that a change of names affects together with it."""

    def put_model(self, key: Key, view: ModelView | None) -> None:
        """Store an InferenceModel; None removes it."""
        if view is None:
            self._models.pop(key, None)
        else:
            self._models[key] = view
        affected = self._claim(key)
        for other in affected:
            self._stale.setdefault(other, set()).update(affected)

    def put_slice(self, key: Key, view: SliceView | None) -> None:
        """Store an EndpointSlice; None removes it."""
        old = self._slices.pop(key, None)
        if old is not None:
            self._of_model[old.namespace, old.model].pop(key)
            if not self._of_model[old.namespace, old.model]:
                del self._of_model[old.namespace, old.model]
            self.touch((old.namespace, old.model))
        if view is not None:
            self._slices[key] = view
            self._of_model[view.namespace, view.model][key] = view
            self.touch((view.namespace, view.model))

    def touch(self, key: Key) -> None:
        """Compute the route of a resource again."""
        self._stale.setdefault(key, set())

    def starting(self, key: Key) -> tuple[Endpoint, ...]:
        """The servers of a resource that are not ready."""
        views = self._of_model[key].values() if key in self._of_model else ()
        return tuple(one for view in views for one in view.starting)

    @property
    def stale(self) -> bool:
        """Whether a route has to be computed again."""
        return bool(self._stale)

    def update(self, limit: int) -> Change:
        """Compute the oldest `limit` stale routes, and with them those that share a name: no name
        may be missing from the table while it changes its owner."""
        batch = dict.fromkeys(islice(self._stale, limit))
        removed, added = [], []
        while batch:
            key, _ = batch.popitem()
            # May exceed `limit`: resources that share a name are never split.
            batch |= dict.fromkeys(self._stale.pop(key) & self._stale.keys())
            old = new = self._routes.get(key)
            try:
                new = self._route(key)
            except Exception as error:  # one resource must not keep the others from being routed
                logger.error("the route of %s/%s keeps its state", *key, exc_info=error)
            if old == new:
                continue
            if old is not None:
                removed.append(old)
            if new is None:
                del self._routes[key]
            else:
                added.append(new)
                self._routes[key] = new
        return Change(removed, added)

    def _claim(self, key: Key) -> set[Key]:
        """Record what a resource claims now; returns it and all whose names may change owner by
        that."""
        view = self._models.get(key)
        if view is None or view.spec is None:
            return {key, *self._claimants.release(key)}
        prefix = self._prefixes.get(view.namespace, "")
        ids, adapters = prefixed(view.spec.ids, prefix), prefixed(view.spec.adapter_ids, prefix)
        claim = NameClaim(view.created, view.namespace, view.name, ids, adapters)
        return {key, *self._claimants.put(claim)}

    def _route(self, key: Key) -> Route | None:
        view, claim = self._models.get(key), self._claimants.get(key)
        if view is None or view.spec is None or claim is None:
            return None
        spec, lost = view.spec, self._claimants.lost(key)
        model, *aliases = claim.ids
        if model != spec.model or aliases != spec.aliases:
            spec = spec.model_copy(update={"model": model, "aliases": aliases})
        if spec.traffic is not None and (prefix := self._prefixes.get(view.namespace)):
            (group,) = prefixed([spec.traffic.group], prefix)
            traffic = spec.traffic.model_copy(update={"group": group})
            spec = spec.model_copy(update={"traffic": traffic})
        if lost:
            owned = [alias for alias in spec.aliases if alias not in lost]
            spec = spec.model_copy(update={"aliases": owned})
            if spec.model in lost:
                origin = Origin(view.namespace, view.name)
                return Route(spec, origin=origin, phase=Phase.CONFLICT, reason=DUPLICATE_MODEL,
                             served=False) if owned else None  # fmt: skip
        route = Route(
            spec=spec,
            endpoints=self._endpoints(key),
            origin=Origin(view.namespace, view.name, view.wake_at),
            phase=view.phase,
            reason=view.reason or (INVALID_SPEC if view.problem else ""),
            cold_seconds=view.cold_seconds,
            ready_at=view.ready_at,
        )
        route = with_remote(route, self._environ)
        if spec.model == view.spec.model:
            return route
        remote = spec.remote.model if spec.remote is not None else None
        return replace(route, upstream_model=remote or view.spec.model)

    def _endpoints(self, key: Key) -> tuple[Endpoint, ...]:
        if key not in self._of_model:
            return ()
        views = self._of_model[key].values()
        listed = {one for view in views for one in (*view.endpoints, *self._early(view))}
        # A Service of both address families has a slice of each, with the same pods. Servers listen
        # on IPv4 in any case.
        ordered = sorted(listed, key=lambda one: (one.name, ":" in one.host, one.host))
        found: dict[str, Endpoint] = {}
        for one in ordered:
            found.setdefault(one.name, one)
        return tuple(found.values())
