"""Puts the route table together from InferenceModels and EndpointSlices. Pure.

Called by `kube_source` after every change. Of two models that claim one name the one created first
has it, and an id comes before any alias: nobody's alias takes a served model away. Who loses an
alias is served without it. Who loses its id is not served; aliases that nobody else has then lead
to a refusal that says so.
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
"""The operator's reason for a model whose id another has."""


def build(
    models: Iterable[ModelView], slices: Iterable[SliceView], environ: Mapping[str, str]
) -> RouteTable:
    """The table of now; `environ` holds the keys of addresses elsewhere."""
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
    """`spec` with the aliases that nobody before it has; they are its own from now on."""
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
