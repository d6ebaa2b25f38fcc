"""Builds the route table from InferenceModels and EndpointSlices. Pure.

Of two models that claim one id or alias the older one gets it, and ids take precedence over
aliases, so that an alias never hides a served model. A model that loses an alias is served without
it. A model that loses its id is not served; requests for its remaining aliases get a refusal that
names the conflict.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from fleet_contract.spec import ModelSpec
from fleet_contract.status import Phase
from fleet_router.kube.objects import ModelView, SliceView
from fleet_router.routing.remote import with_remote
from fleet_router.routing.table import Endpoint, Origin, Route, RouteTable

DUPLICATE = "DuplicateModel"
"""The operator's reason for a model whose id belongs to another."""


def build(
    models: Iterable[ModelView], slices: Iterable[SliceView], environ: Mapping[str, str]
) -> RouteTable:
    """The route table; `environ` holds the API keys of remote models."""
    servers: dict[tuple[str, str], dict[Endpoint, None]] = defaultdict(dict)
    for each in slices:
        servers[each.namespace, each.model].update(dict.fromkeys(each.endpoints))
    first: dict[str, ModelView] = {}
    losers: list[tuple[ModelView, ModelSpec]] = []
    winners: list[tuple[ModelView, ModelSpec]] = []
    for view in sorted(models, key=lambda view: (view.created, view.namespace, view.name)):
        if view.spec is not None:
            won = first.setdefault(view.spec.model, view) is view
            (winners if won else losers).append((view, view.spec))
    routes, refused = [], []
    for view, spec in winners:
        endpoints = tuple(sorted(servers[view.namespace, view.name], key=lambda one: one.name))
        routes.append(_route(view, _with_own_aliases(view, spec, first), endpoints, environ))
    for view, spec in losers:
        left = _with_own_aliases(view, spec, first)
        if left.aliases:
            origin = Origin(view.namespace, view.name)
            refused.append(Route(left, origin=origin, phase=Phase.CONFLICT, reason=DUPLICATE))
    return RouteTable.build(sorted(routes, key=lambda route: route.model), refused)


def _with_own_aliases(view: ModelView, spec: ModelSpec, first: dict[str, ModelView]) -> ModelSpec:
    """`spec` without aliases that are claimed in `first`; its own are added there."""
    aliases = [alias for alias in spec.aliases if first.setdefault(alias, view) is view]
    return spec if aliases == spec.aliases else spec.model_copy(update={"aliases": aliases})


def _route(
    view: ModelView, spec: ModelSpec, endpoints: tuple[Endpoint, ...], environ: Mapping[str, str]
) -> Route:
    route = Route(
        spec=spec,
        endpoints=endpoints,
        origin=Origin(view.namespace, view.name, view.wake_at),
        phase=view.phase,
        reason=view.reason or ("InvalidSpec" if view.problem else ""),
        cold_seconds=view.cold_seconds,
    )
    return with_remote(route, environ)
