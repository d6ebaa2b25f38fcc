"""The router's metrics; labels are only configured names and allow-listed paths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from fleet_contract.server_protocol import ROUTER_IN_FLIGHT, ROUTER_REQUESTS
from fleet_router.load import LoadTracker

disable_created_metrics()  # type: ignore[no-untyped-call]

SHORT = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5)
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


M = TypeVar("M", bound=MetricWrapperBase)


class Series(Generic[M]):
    """A metric of the hot path: keeps each of its series, whose lookup is slow."""

    def __init__(self, metric: M) -> None:
        self._metric = metric
        self._series: dict[tuple[str, ...], M] = {}

    def of(self, *labels: str) -> M:
        """The series with these labels, in the metric's order."""
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = self._metric.labels(*labels)
        return series

    def totals(self) -> Iterator[tuple[dict[str, str], float]]:
        """Labels and value of each series of a counter."""
        for family in self._metric.collect():
            for sample in family.samples:
                yield sample.labels, sample.value


class RouterMetrics:
    """The metrics of one app, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.load = LoadTracker()
        self.requests = Series(
            Counter(
                ROUTER_REQUESTS,
                "Requests by model, path, name of the API key (empty without) and status; 499 is a"
                " client that disconnected, 502 also a response that was cut off.",
                ("model", "path", "key", "code"),
                registry=self.registry,
            )
        )
        self.seconds = Series(
            Histogram(
                "modelfleet_router_request_seconds",
                "Seconds from a request's head to the last byte of its response.",
                ("model", "path"),
                buckets=BUCKETS,
                registry=self.registry,
            )
        )
        self.first_byte = Series(
            Histogram(
                "modelfleet_router_first_byte_seconds",
                "Seconds from a request's head to the first byte of its response's body.",
                ("model", "path"),
                buckets=BUCKETS,
                registry=self.registry,
            )
        )
        self.between_pieces = Series(
            Histogram(
                "modelfleet_router_between_pieces_seconds",
                "Mean seconds between the chunks of a stream, which are mostly tokens.",
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
                "Seconds of transcribed audio, by key.",
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
        self.cost = Series(
            Counter(
                "modelfleet_router_cost",
                "Price of the usage, by key, of models with a price.",
                ("model", "key", "currency"),
                registry=self.registry,
            )
        )
        self.in_flight = Series(
            Gauge(
                ROUTER_IN_FLIGHT,
                "Requests whose model is known and whose response is not complete.",
                ("model",),
                registry=self.registry,
            )
        )
        self.upstream_errors = Counter(
            "modelfleet_router_upstream_errors",
            "Failed attempts by kind: connect, lost (closed before the response), truncated"
            " (during the response), silent (timeout) or not_ready (503).",
            ("model", "kind"),
            registry=self.registry,
        )
        self.last_request = Series(
            Gauge(
                "modelfleet_router_last_request_timestamp_seconds",
                "Unix time of a model's last request, including waiting and refused ones.",
                ("model",),
                registry=self.registry,
            )
        )
        self.held = Gauge(
            "modelfleet_router_held",
            "Requests that wait for a server of a model without one; included in those in flight.",
            ("model",),
            registry=self.registry,
        )
        self.held_seconds = Histogram(
            "modelfleet_router_held_seconds",
            "Seconds that requests waited before a server accepted them.",
            ("model",),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.refused = Counter(
            "modelfleet_router_refused",
            "Requests refused because too many wait (full) or no server became ready (deadline).",
            ("model", "reason"),
            registry=self.registry,
        )
        self.fallbacks = Counter(
            "modelfleet_router_fallbacks",
            "Requests served by the fallback of their model.",
            ("model", "fallback"),
            registry=self.registry,
        )
        self.ejections = Counter(
            "modelfleet_router_ejections",
            "Times a server was ejected after failures.",
            ("model",),
            registry=self.registry,
        )
        self.retries = Counter(
            "modelfleet_router_retries",
            "Attempts made after one that failed.",
            ("model",),
            registry=self.registry,
        )
        self.usage_lines_dropped = Counter(
            "modelfleet_router_usage_log_lines_dropped",
            "Lines of the usage log that were lost, because its file could not be written.",
            registry=self.registry,
        )
        self.usage_events = Counter(
            "modelfleet_router_usage_events",
            "Events of usage by result: sent, or lost because too many wait (full), the sink"
            " refuses them (refused) or the router ends (ended).",
            ("result",),
            registry=self.registry,
        )
        self.loop_restarts = Counter(
            "modelfleet_router_loop_restarts",
            "Times a loop (keys, routes, usage_log, usage_sink, metrics_port) ended and was started"
            " again.",
            ("loop",),
            registry=self.registry,
        )

    def loop_ended(self, name: str) -> None:
        """Count a loop that ended."""
        self.loop_restarts.labels(name).inc()

    def server_prices(self, read: Callable[[], Iterable[tuple[str, str, float]]]) -> None:
        """Add a gauge of the price of each model's servers: model, currency and amount for an
        hour, read at every scrape."""
        self.registry.register(_ServerPrices(read))

    def watch_age(self, read: Callable[[], float]) -> None:
        """Add a gauge of the source's age in seconds, read at every scrape."""
        gauge = Gauge(
            "modelfleet_router_watch_age_seconds",
            "Seconds since the last data from the cluster; a watch is renewed within 180.",
            registry=self.registry,
        )
        gauge.set_function(read)

    def unreadable(self, read: Callable[[], Iterable[tuple[str, str, bool]]]) -> None:
        """Add a gauge of the namespaces that cannot be read, read at every scrape."""
        self.registry.register(_Unreadable(read))


class _ServerPrices(Collector):
    def __init__(self, read: Callable[[], Iterable[tuple[str, str, float]]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(
            "modelfleet_router_servers_price_per_hour",
            "Price of an hour of the present servers of a model, if its price has one.",
            labels=["model", "currency"],
        )
        for model, currency, amount in self._read():
            family.add_metric([model, currency], amount)
        yield family


class _Unreadable(Collector):
    def __init__(self, read: Callable[[], Iterable[tuple[str, str, bool]]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(
            "modelfleet_router_namespace_unreadable",
            "1 for a watched namespace that does not exist or may not be read.",
            labels=["namespace", "kind"],
        )
        for namespace, kind, unreadable in self._read():
            family.add_metric([namespace, kind], float(unreadable))
        yield family
