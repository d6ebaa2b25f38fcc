"""A scripted chat model whose requests are traced, and what a real collector received."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from fleet_web import tracing
from support.otlp_collector import Received, collector
from support.scripted_chat import scripted, serve

__all__ = ["scripted", "serve"]

Traced = Callable[..., AbstractContextManager[tuple[Any, list[Received]]]]


@pytest.fixture
def traced(serve: Any, monkeypatch: pytest.MonkeyPatch) -> Traced:
    """`with traced(model, **spec fields) as (live, spans)`; the spans are there after the block."""

    @contextmanager
    def start(*given: Any, **fields: Any) -> Iterator[tuple[Any, list[Received]]]:
        spans: list[Received] = []
        with collector(spans) as address:
            environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": address}
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
            made = tracing.load(environ, "modelfleet-server")
            assert made is not None
            with serve(*given, tracing=made, **fields) as live:
                yield live, spans
            made.close()

    return start
