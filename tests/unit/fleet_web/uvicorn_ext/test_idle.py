"""Which idle connections are closed."""

from __future__ import annotations

import resource

import pytest

from fleet_web.uvicorn_ext import idle
from fleet_web.uvicorn_ext.idle import MAX_IDLE, IdleConnections, idle_limit


def test_the_longest_idle_connection_is_closed() -> None:
    connections: IdleConnections[str] = IdleConnections(2)
    assert connections.add("a") is None
    assert connections.add("b") is None
    connections.remove("a")
    connections.remove("a")
    assert connections.add("a") is None
    assert connections.add("c") == "b"
    assert connections.add("d") == "a"


@pytest.mark.parametrize(
    ("files", "limit"), [(1000, 500), (10**6, MAX_IDLE), (resource.RLIM_INFINITY, MAX_IDLE)]
)
def test_files_are_left_for_running_requests(
    monkeypatch: pytest.MonkeyPatch, files: int, limit: int
) -> None:
    monkeypatch.setattr(idle.resource, "getrlimit", lambda _: (files, files))
    assert idle_limit() == limit
