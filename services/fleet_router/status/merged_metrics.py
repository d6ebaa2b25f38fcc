"""One Prometheus exposition for the whole fleet: the router's metrics and those of every server.

Format: prometheus.io/docs/instrumenting/exposition_formats (text, 0.0.4).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from fleet_contract.spec import Engine
from fleet_router.routing.table import RouteTable
from fleet_router.upstream.fetch import fetch
from fleet_router.upstream.pool import PoolManager
from fleet_web.logs import event

logger = logging.getLogger(__name__)

SCRAPE_TIMEOUT = 2.0
SCRAPE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Scrape:
    """What one server told."""

    model: str
    endpoint: str
    text: str


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


async def scrape(pools: PoolManager, table: RouteTable) -> list[Scrape]:
    """Ask every server at once; those that do not answer are left out."""
    asked = [
        (route.model, endpoint)
        for route in table.routes
        if route.spec.engine is not Engine.REMOTE
        for endpoint in route.endpoints
    ]
    raws = await asyncio.gather(
        *(
            fetch(pools, endpoint, "/metrics", within=SCRAPE_TIMEOUT, limit=SCRAPE_BYTES)
            for _, endpoint in asked
        )
    )
    return [
        Scrape(model, endpoint.name, raw.decode("utf-8", "replace"))
        for (model, endpoint), raw in zip(asked, raws, strict=True)
        if raw is not None
    ]


def render(own: CollectorRegistry, scrapes: Sequence[Scrape]) -> bytes:
    """All of it as one exposition in which no family and no series appears twice.

    Series get the labels `endpoint` and, where a server did not set it, `model`.
    """
    families = {family.name: family for family in own.collect()}
    for one in scrapes:
        try:
            for family in text_string_to_metric_families(one.text):
                _merge(families, family, one)
        except ValueError as error:
            event(logger, "metrics_unreadable", level=logging.WARNING, model=one.model,
                  endpoint=one.endpoint, error=str(error))  # fmt: skip
    whole = CollectorRegistry()
    whole.register(_Families(families.values()))
    return generate_latest(whole)


def _merge(families: dict[str, Metric], family: Metric, one: Scrape) -> None:
    known = families.get(family.name)
    if known is None:
        known = families[family.name] = Metric(family.name, family.documentation, family.type)
    elif known.type != family.type:
        return
    for sample in family.samples:
        known.samples.append(_named(sample, one))


def _named(sample: Sample, one: Scrape) -> Sample:
    labels = {"model": one.model, **sample.labels, "endpoint": one.endpoint}
    return Sample(sample.name, labels, sample.value, sample.timestamp)
