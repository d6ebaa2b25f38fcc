"""The operator's Prometheus metrics, in a registry of their own."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fleet_contract.status import Phase
from fleet_operator.condition_metrics import ConditionSeries

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Only the conditions are labelled by model: in a fleet of thousands every other metric would
    be too many series. `began` is when the process started, by default now."""

    def __init__(self, began: float | None = None) -> None:
        self.registry = CollectorRegistry()
        self._delivered: Tally[str] = Tally()
        own = self.registry
        self._conditions: Callable[[], bytes] = bytes
        Gauge(
            "modelfleet_operator_start_time_seconds", "Unix time at which the operator started",
            registry=own,
        ).set(time.time() if began is None else began)  # fmt: skip
        self._reconciles = Counter(
            "modelfleet_operator_reconciles", "Reconciled models", ["result"], registry=own
        )
        self._seconds = Histogram(
            "modelfleet_operator_reconcile_seconds", "Seconds of one reconcile, writes included",
            buckets=SECONDS, registry=own,
        )  # fmt: skip
        self._calls = Counter(
            "modelfleet_operator_api_calls", "Requests to the API server; code 0 means no response",
            ["method", "resource", "code"], registry=own,
        )  # fmt: skip
        self._events = Counter(
            "modelfleet_operator_watch_events", "Watch events received", ["kind"], registry=own
        )
        self._repairs = Counter(
            "modelfleet_operator_resync_repairs", "Changes the watch had missed", ["kind"],
            registry=own,
        )  # fmt: skip
        self._stale = Gauge(
            "modelfleet_operator_watch_stale", "Whether a watch is behind the API server",
            ["kind"], registry=own,
        )  # fmt: skip
        self._loop_restarts = Counter(
            "modelfleet_operator_loop_restarts", "Times a loop ended and was started again",
            ["loop"], registry=own,
        )  # fmt: skip
        self._start_seconds = Histogram(
            "modelfleet_operator_cold_start_seconds", "Seconds from a pod's creation to ready",
            ["task"], buckets=(1, 2, 3, 5, 8, 13, 20, 30, 60, 120, 300, 600, 1800), registry=own,
        )  # fmt: skip

    def gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """A gauge read at every scrape."""
        Gauge(name, meaning, registry=self.registry).set_function(read)

    def phases(self, read: Callable[[], Iterable[str]]) -> None:
        """Models by phase, counted at every scrape."""
        self.registry.register(_Phases(read))

    def conditions(self, read: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
        """The conditions of each of these models, read at every scrape."""
        found = ConditionSeries()
        self._conditions = lambda: found.render(read())

    def prefetched(self, read: Callable[[], Mapping[tuple[str, str], Sequence[int]]]) -> None:
        """The fields of PREFETCH by namespace and profile, read at every scrape."""
        self.registry.register(_Prefetched(read))

    def ages(self, read: Callable[[], Mapping[str, float]]) -> None:
        """Seconds since each kind's watch was last up to date, read at every scrape."""
        self.registry.register(_Ages(read))

    def reconciled(self, result: str, seconds: float) -> None:
        """`result` is unchanged, changed or error."""
        self._reconciles.labels(result).inc()
        self._seconds.observe(seconds)

    def api_call(self, method: str, resource: str, code: int) -> None:
        self._calls.labels(method, resource, str(code)).inc()

    def seen(self, kind: str) -> None:
        """Count a watch event."""
        self._delivered[kind] += 1
        self._events.labels(kind).inc()

    def delivered(self, kind: str) -> int:
        """Watch events of a kind so far."""
        return self._delivered[kind]

    def repaired(self, kind: str) -> None:
        self._repairs.labels(kind).inc()

    def stale(self, kind: str, is_stale: bool) -> None:
        self._stale.labels(kind).set(float(is_stale))

    def loop_ended(self, name: str) -> None:
        """Count a loop that ended."""
        self._loop_restarts.labels(name).inc()

    def cold_start(self, task: str, seconds: float) -> None:
        self._start_seconds.labels(task).observe(seconds)

    def render(self) -> bytes:
        """Prometheus text format."""
        return generate_latest(self.registry) + self._conditions()


class _Ages(Collector):
    def __init__(self, read: Callable[[], Mapping[str, float]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(
            "modelfleet_operator_watch_age_seconds",
            "Seconds since the watch was last up to date with the API server",
            labels=["kind"],
        )
        for kind, age in self._read().items():
            family.add_metric([kind], age)
        yield family


PREFETCH = (
    ("nodes", "Nodes to which the weights of a profile's models are downloaded ahead of time"),
    ("nodes_ready", "Those of them that have the weights"),
    ("nodes_failed", "Those of them whose download fails or cannot start"),
    ("models_left_out", "Models that the list of the profile has no room for"),
    (
        "refused",
        "Whether the DaemonSet cannot be created: the name is taken, or a right is missing",
    ),
)
"""Names and meanings of the fields of a profile's Progress."""


class _Prefetched(Collector):
    def __init__(self, read: Callable[[], Mapping[tuple[str, str], Sequence[int]]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        profiles = self._read()
        for index, (name, meaning) in enumerate(PREFETCH):
            family = GaugeMetricFamily(
                f"modelfleet_operator_prefetch_{name}", meaning, labels=["namespace", "profile"]
            )
            for key, values in profiles.items():
                family.add_metric(key, values[index])
            yield family


class _Phases(Collector):
    def __init__(self, read: Callable[[], Iterable[str]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(
            "modelfleet_operator_models", "InferenceModels by phase", labels=["phase"]
        )
        tally = Tally(self._read())
        for phase in Phase:
            family.add_metric([phase.value], tally[phase.value])
        yield family
