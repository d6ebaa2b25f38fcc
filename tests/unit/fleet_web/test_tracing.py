"""The set-up of traces in a process."""

from __future__ import annotations

import socket
import threading

import pytest

from fleet_web import tracing


def test_a_collector_that_does_not_respond_does_not_delay_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracing, "CLOSE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        found = tracing.load({"OTEL_EXPORTER_OTLP_ENDPOINT": address}, "test")
        assert found is not None
        found.start("request", ()).end()
        closing = threading.Thread(target=found.close, daemon=True)
        closing.start()
        closing.join(8)  # the exporter waits for 10 s
        assert not closing.is_alive()
