"""Servers that lack an adapter."""

from __future__ import annotations

from fleet_router.routing.table import Endpoint
from fleet_router.upstream.adapters import SECONDS, AbsentAdapters

A, B = Endpoint("a", "10.0.0.1", 8000), Endpoint("b", "10.0.0.2", 8000)


def test_servers_with_the_adapter_are_preferred_for_a_while() -> None:
    now = 0.0
    absent = AbsentAdapters(lambda: now)
    absent.note(A, "sql")
    assert absent.preferred([A, B], "sql") == [B]
    assert absent.preferred([A], "sql") == [A]
    assert absent.preferred([A, B], "") == absent.preferred([A, B], "other") == [A, B]
    now = SECONDS
    assert absent.preferred([A, B], "sql") == [A, B]


def test_a_server_that_is_gone_is_forgotten() -> None:
    absent = AbsentAdapters(lambda: 0.0)
    absent.note(A, "sql")
    absent.forget([A, B])
    assert absent.preferred([A, B], "sql") == [A, B]
