"""The server's Prometheus metrics, each with a `model` label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

from fleet_server.memory import family_bytes
from fleet_server.tracing.recording import exemplar
from fleet_web.exposition import TEXT_FORMAT, Exposition

disable_created_metrics()  # type: ignore[no-untyped-call]

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """`model` is the id of the served model; no label is taken from a request."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.registry = CollectorRegistry()
        self._children: dict[tuple[object, ...], Any] = {}
        self._requests = self._counter("modelfleet_requests", "Completed requests", "route", "code")
        self._seconds = self._histogram(
            "modelfleet_request_seconds", "Seconds until the response is complete", "route"
        )
        self._first_token = self._histogram(
            "modelfleet_time_to_first_token_seconds",
            "Seconds to the first token of a chat response",
        )
        self._queue = self._histogram("modelfleet_queue_seconds", "Seconds waited in the queue")
        self._tokens = self._counter("modelfleet_tokens", "Tokens by kind", "kind")
        self._audio = self._counter("modelfleet_audio_seconds", "Seconds of transcribed audio")
        self._ignored = self._counter(
            "modelfleet_ignored_fields", "Unknown request fields that were ignored"
        )
        self._token_ids_refused = self._counter(
            "modelfleet_token_ids_refused",
            "Requests with token ids that the model's tokenizer does not produce",
        )
        self.embedding_cache_hits = self._counter(
            "embedding_cache_hits", "Embeddings taken from the cache"
        ).labels(model)
        self.embedding_cache_misses = self._counter(
            "embedding_cache_misses", "Embeddings that had to be computed"
        ).labels(model)
        self._load = Gauge(
            "modelfleet_load_seconds", "Seconds a stage of start-up took", ["model", "stage"],
            registry=self.registry,
        )  # fmt: skip
        self.gauge("modelfleet_resident_bytes", "Resident memory of the server", family_bytes)

    def gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """A gauge read at every scrape."""
        gauge = Gauge(name, meaning, ["model"], registry=self.registry)
        gauge.labels(self.model).set_function(read)

    def responded(self, route: str, code: int, seconds: float) -> None:
        self._of(self._requests, route, str(code)).inc()
        self._of(self._seconds, route).observe(seconds, exemplar())

    def queued(self, seconds: float) -> None:
        self._of(self._queue).observe(seconds, exemplar())

    def first_token(self, seconds: float) -> None:
        self._of(self._first_token).observe(seconds, exemplar())

    def tokens(self, kind: str, number: int) -> None:
        """`kind` is `prompt` or `completion`."""
        self._of(self._tokens, kind).inc(number)

    def audio_seconds(self, seconds: float) -> None:
        self._of(self._audio).inc(seconds)

    def ignored_fields(self, number: int) -> None:
        self._of(self._ignored).inc(number)

    def token_ids_refused(self) -> None:
        self._of(self._token_ids_refused).inc()

    def load_seconds(self, stage: str, seconds: float) -> None:
        self._of(self._load, stage).set(seconds)

    def render(self, chosen: Exposition = TEXT_FORMAT) -> bytes:
        """The metrics in this format."""
        return chosen.render(self.registry)

    def _of(self, metric: Counter | Gauge | Histogram, *labels: str) -> Any:
        """The metric with these labels, cached because the library validates them every time."""
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(self.model, *labels)
        return child

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, ["model", *labels], registry=self.registry)

    def _histogram(self, name: str, meaning: str, *labels: str) -> Histogram:
        return Histogram(name, meaning, ["model", *labels], registry=self.registry, buckets=SECONDS)
