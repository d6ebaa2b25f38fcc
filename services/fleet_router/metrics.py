"""The router's own metrics. Labels are configured model ids and allow-listed paths only."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class RouterMetrics:
    """One set for each app, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "modelfleet_router_requests",
            "Requests answered; code 499 is a client that left, 502 also an answer cut off.",
            ("model", "path", "code"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "modelfleet_router_request_seconds",
            "Seconds from a request's head to the last byte of its answer.",
            ("model", "path"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "modelfleet_router_in_flight",
            "Requests whose model is known and whose answer is not complete.",
            ("model",),
            registry=self.registry,
        )
        self.upstream_errors = Counter(
            "modelfleet_router_upstream_errors",
            "Attempts a model server failed: connect, lost (before its answer began), truncated"
            " (later), silent or not_ready (503).",
            ("model", "kind"),
            registry=self.registry,
        )
        self.last_request = Gauge(
            "modelfleet_router_last_request_timestamp_seconds",
            "Unix time of a model's last request, held and refused ones included.",
            ("model",),
            registry=self.registry,
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
