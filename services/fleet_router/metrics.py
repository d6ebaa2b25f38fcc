"""The router's own metrics. Labels are configured model ids and allow-listed paths only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.metrics import MetricWrapperBase

from fleet_contract.server_protocol import ROUTER_IN_FLIGHT, ROUTER_REQUESTS

disable_created_metrics()  # type: ignore[no-untyped-call]

SHORT = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5)
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


M = TypeVar("M", bound=MetricWrapperBase)


class Series(Generic[M]):
    """A metric of the hot path: each of its series is looked up once."""

    def __init__(self, metric: M) -> None:
        self._metric = metric
        self._series: dict[tuple[str, ...], M] = {}

    def of(self, *labels: str) -> M:
        """The series with these labels, in the metric's order."""
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = self._metric.labels(*labels)
        return series


class RouterMetrics:
    """One set for each app, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Series(
            Counter(
                ROUTER_REQUESTS,
                "Requests answered, by the name of their key (empty where none is asked for); code"
                " 499 is a client that left, 502 also an answer cut off.",
                ("model", "path", "key", "code"),
                registry=self.registry,
            )
        )
        self.seconds = Series(
            Histogram(
                "modelfleet_router_request_seconds",
                "Seconds from a request's head to the last byte of its answer.",
                ("model", "path"),
                buckets=BUCKETS,
                registry=self.registry,
            )
        )
        self.first_byte = Series(
            Histogram(
                "modelfleet_router_first_byte_seconds",
                "Seconds from a request's head to the first byte of its answer's body.",
                ("model", "path"),
                buckets=BUCKETS,
                registry=self.registry,
            )
        )
        self.between_pieces = Series(
            Histogram(
                "modelfleet_router_between_pieces_seconds",
                "Mean seconds between the pieces of a stream, which are mostly tokens.",
                ("model", "path"),
                buckets=SHORT,
                registry=self.registry,
            )
        )
        self.tokens = Series(
            Counter(
                "modelfleet_router_tokens",
                "Tokens by key: prompt, cached (part of prompt) and completion.",
                ("model", "key", "kind"),
                registry=self.registry,
            )
        )
        self.audio_seconds = Series(
            Counter(
                "modelfleet_router_audio_seconds",
                "Seconds of speech read, by key.",
                ("model", "key"),
                registry=self.registry,
            )
        )
        self.images = Series(
            Counter(
                "modelfleet_router_images",
                "Images in chat requests, by key.",
                ("model", "key"),
                registry=self.registry,
            )
        )
        self.in_flight = Series(
            Gauge(
                ROUTER_IN_FLIGHT,
                "Requests whose model is known and whose answer is not complete.",
                ("model",),
                registry=self.registry,
            )
        )
        self.upstream_errors = Counter(
            "modelfleet_router_upstream_errors",
            "Attempts a model server failed: connect, lost (before its answer began), truncated"
            " (later), silent or not_ready (503).",
            ("model", "kind"),
            registry=self.registry,
        )
        self.last_request = Series(
            Gauge(
                "modelfleet_router_last_request_timestamp_seconds",
                "Unix time of a model's last request, held and refused ones included.",
                ("model",),
                registry=self.registry,
            )
        )
        self.held = Gauge(
            "modelfleet_router_held",
            "Requests that wait for a server of a model that has none; part of those in flight.",
            ("model",),
            registry=self.registry,
        )
        self.held_seconds = Histogram(
            "modelfleet_router_held_seconds",
            "Seconds requests waited so before a server took them.",
            ("model",),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.refused = Counter(
            "modelfleet_router_refused",
            "Requests not held (full) or held in vain (deadline).",
            ("model", "reason"),
            registry=self.registry,
        )
        self.fallbacks = Counter(
            "modelfleet_router_fallbacks",
            "Requests another model answered.",
            ("model", "fallback"),
            registry=self.registry,
        )
        self.ejections = Counter(
            "modelfleet_router_ejections",
            "Times a server was left out for a while because it failed.",
            ("model",),
            registry=self.registry,
        )
        self.retries = Counter(
            "modelfleet_router_retries",
            "Attempts made after one that failed.",
            ("model",),
            registry=self.registry,
        )

    def watch_age(self, read: Callable[[], float]) -> None:
        """A gauge of a source that watches; read at every scrape."""
        gauge = Gauge(
            "modelfleet_router_watch_age_seconds",
            "Seconds since the cluster was last heard of; a watch is renewed within 180.",
            registry=self.registry,
        )
        gauge.set_function(read)
