"""The formats of Prometheus metrics; exemplars need OpenMetrics.

Formats: prometheus.io/docs/instrumenting/exposition_formats.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

OPENMETRICS = "application/openmetrics-text"


@dataclass(frozen=True, slots=True)
class Exposition:
    """A format; `render` is blocking."""

    media_type: str
    render: Callable[[Collector], bytes]


TEXT_FORMAT = Exposition("text/plain; version=0.0.4; charset=utf-8", generate_latest)
OPENMETRICS_FORMAT = Exposition(CONTENT_TYPE_LATEST, generate_openmetrics)


def exposition(accept: str, *, exemplars: bool) -> Exposition:
    """The format for a scraper with this `Accept`: OpenMetrics if it reads that and there are
    `exemplars`, else text."""
    return OPENMETRICS_FORMAT if exemplars and OPENMETRICS in accept else TEXT_FORMAT
