"""Puts the route table together from InferenceModels and EndpointSlices. Pure.

Called by `kube_source` after every change. Two models that claim one id: the one created first has
it. The younger keeps what is left of its aliases, or is left out when its own id is taken.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from fleet_contract.spec import ModelSpec
from fleet_router.kube_objects import ModelView, SliceView
from fleet_router.remote import with_remote
from fleet_router.routes import Endpoint, Origin, Route, RouteTable


def build(
    models: Iterable[ModelView], slices: Iterable[SliceView], environ: Mapping[str, str]
) -> RouteTable:
    """The table of now; `environ` holds the keys of addresses elsewhere."""
    servers: dict[tuple[str, str], dict[Endpoint, None]] = defaultdict(dict)
    for each in slices:
        servers[each.namespace, each.model].update(dict.fromkeys(each.endpoints))
    taken: set[str] = set()
    routes = []
    for view in sorted(models, key=lambda view: (view.created, view.namespace, view.name)):
        spec = view.spec
        if spec is None or spec.model in taken:
            continue
        aliases = [alias for alias in spec.aliases if alias not in taken]
        if len(aliases) < len(spec.aliases):
            spec = spec.model_copy(update={"aliases": aliases})
        taken.update(spec.ids)
        endpoints = tuple(sorted(servers[view.namespace, view.name], key=lambda one: one.name))
        routes.append(_route(view, spec, endpoints, environ))
    return RouteTable.build(sorted(routes, key=lambda route: route.model))


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
