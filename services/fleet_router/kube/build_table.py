"""Builds the route table from InferenceModels and EndpointSlices. Pure.

A model is served without the aliases that another model owns (see fleet_contract.claims). A model
whose id another owns is not served; the aliases it does own lead to a refusal with the reason.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from fleet_contract.claims import Claim, owners, prefixed
from fleet_contract.spec import ModelSpec
from fleet_contract.status import DUPLICATE_MODEL, INVALID_SPEC, Phase
from fleet_router.kube.objects import ModelView, SliceView
from fleet_router.routing.remote import with_remote
from fleet_router.routing.table import Endpoint, Origin, Route, RouteTable

NO_PREFIXES: Mapping[str, str] = {}


def build(
    models: Iterable[ModelView],
    slices: Iterable[SliceView],
    environ: Mapping[str, str],
    prefixes: Mapping[str, str] = NO_PREFIXES,
) -> RouteTable:
    """The route table; `environ` holds the API keys of remote models.

    `prefixes` are those of the ids of a namespace. Servers know their models without them.
    """
    servers: dict[tuple[str, str], dict[Endpoint, None]] = defaultdict(dict)
    for each in slices:
        servers[each.namespace, each.model].update(dict.fromkeys(each.endpoints))
    views = []
    for view in models:
        if view.spec is not None:
            spec = _with_prefix(view.spec, prefixes.get(view.namespace, ""))
            views.append((_claim(view, spec), view, spec))
    owner = owners(claim for claim, _, _ in views)
    routes, refused = [], []
    for claim, view, spec in views:
        owned = _with_owned_aliases(claim, spec, owner)
        if owner[spec.model] is claim:
            endpoints = tuple(sorted(servers[view.namespace, view.name], key=lambda one: one.name))
            routes.append(_route(view, owned, endpoints, environ))
        elif owned.aliases:
            origin = Origin(view.namespace, view.name)
            refused.append(
                Route(owned, origin=origin, phase=Phase.CONFLICT, reason=DUPLICATE_MODEL)
            )
    return RouteTable.build(sorted(routes, key=lambda route: route.model), refused)


def _with_prefix(spec: ModelSpec, prefix: str) -> ModelSpec:
    if not prefix:
        return spec
    model, *aliases = prefixed(spec.ids, prefix)
    return spec.model_copy(update={"model": model, "aliases": aliases})


def _claim(view: ModelView, spec: ModelSpec) -> Claim:
    return Claim(view.created, view.namespace, view.name, spec.ids)


def _with_owned_aliases(claim: Claim, spec: ModelSpec, owner: Mapping[str, Claim]) -> ModelSpec:
    aliases = [alias for alias in spec.aliases if owner[alias] is claim]
    return spec if aliases == spec.aliases else spec.model_copy(update={"aliases": aliases})


def _route(
    view: ModelView, spec: ModelSpec, endpoints: tuple[Endpoint, ...], environ: Mapping[str, str]
) -> Route:
    route = Route(
        spec=spec,
        endpoints=endpoints,
        origin=Origin(view.namespace, view.name, view.wake_at),
        phase=view.phase,
        reason=view.reason or (INVALID_SPEC if view.problem else ""),
        cold_seconds=view.cold_seconds,
    )
    route = with_remote(route, environ)
    own = view.spec.model if view.spec is not None else spec.model
    if own == spec.model:
        return route
    remote = spec.remote.model if spec.remote is not None else None
    return replace(route, upstream_model=remote or own)
