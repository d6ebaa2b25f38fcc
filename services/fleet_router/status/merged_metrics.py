"""Merges the router's metrics and those of every server into one Prometheus exposition.

Format: prometheus.io/docs/instrumenting/exposition_formats (text, 0.0.4).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from fleet_contract.spec import Engine
from fleet_router.routing.table import RouteTable
from fleet_router.upstream.fetch import fetch
from fleet_router.upstream.pool import PoolManager
from fleet_web.exposition import TEXT_FORMAT, Exposition
from fleet_web.logs import event

logger = logging.getLogger(__name__)

SCRAPE_TIMEOUT = 2.0
SCRAPE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Scrape:
    """The metrics of one server."""

    model: str
    endpoint: str
    text: str


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


async def scrape(pools: PoolManager, table: RouteTable) -> list[Scrape]:
    """Scrape all servers at once; those that do not respond are left out."""
    targets = [
        (route.model, endpoint)
        for route in table.routes
        if route.spec.engine is not Engine.REMOTE
        for endpoint in route.endpoints
    ]
    raws = await asyncio.gather(
        *(
            fetch(pools, endpoint, "/metrics", seconds=SCRAPE_TIMEOUT, limit=SCRAPE_BYTES)
            for _, endpoint in targets
        )
    )
    return [
        Scrape(model, endpoint.name, raw.decode("utf-8", "replace"))
        for (model, endpoint), raw in zip(targets, raws, strict=True)
        if raw is not None
    ]


def render(
    own: CollectorRegistry, scrapes: Sequence[Scrape], format_: Exposition = TEXT_FORMAT
) -> bytes:
    """One exposition in which no family and no series appears twice.

    Series of servers get the labels `endpoint` and, if missing, `model`.
    """
    families = {family.name: family for family in own.collect()}
    for scraped in scrapes:
        try:
            for family in text_string_to_metric_families(scraped.text):
                _merge(families, family, scraped)
        except ValueError as error:
            event(logger, "metrics_unreadable", level=logging.WARNING, model=scraped.model,
                  endpoint=scraped.endpoint, error=str(error))  # fmt: skip
    merged = CollectorRegistry()
    merged.register(_Families(families.values()))
    return format_.render(merged)


def _merge(families: dict[str, Metric], family: Metric, scraped: Scrape) -> None:
    known = families.get(family.name)
    if family.type == "counter" and not all(one.name.endswith("_total") for one in family.samples):
        family.type = "unknown"  # OpenMetrics has no counters of other names
    if known is None:
        known = families[family.name] = Metric(family.name, family.documentation, family.type)
    elif known.type != family.type:
        return  # one exposition cannot hold both
    for sample in family.samples:
        known.samples.append(_labelled(sample, scraped))


def _labelled(sample: Sample, scraped: Scrape) -> Sample:
    labels = {"model": scraped.model, **sample.labels, "endpoint": scraped.endpoint}
    return Sample(sample.name, labels, sample.value, sample.timestamp)
