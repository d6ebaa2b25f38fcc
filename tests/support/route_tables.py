"""Builds the route table of given InferenceModels and EndpointSlices at once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fleet_router.kube.objects import ModelView, SliceView
from fleet_router.kube.table_index import TableIndex
from fleet_router.routing.table import RouteTable


def build(
    models: Iterable[ModelView],
    slices: Iterable[SliceView],
    environ: Mapping[str, str],
) -> RouteTable:
    """The route table; `environ` holds the API keys of remote models, and ID_PREFIXES."""
    index = TableIndex(environ)
    for view in models:
        index.put_model((view.namespace, view.name), view)
    for number, each in enumerate(slices):
        index.put_slice((each.namespace, str(number)), each)
    table = RouteTable(ordered=True)
    while index.stale:
        table.apply(index.update(1000))
    return table
