"""Rows of `modelfleet status` from a router's JSON and metrics."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_cli.status_rows import COLUMNS, FIELDS, Counters, counters, rows

ENTRY: dict[str, Any] = {
    "id": "acme/chat", "task": "chat", "state": "ready", "engine": "openvino", "device": "cpu",
    "memory_bytes": 3 << 20, "parent": None,
}  # fmt: skip
METRICS = """\
# TYPE modelfleet_router_held gauge
modelfleet_router_held{model="acme/chat"} 2
# TYPE modelfleet_router_tokens_total counter
modelfleet_router_tokens_total{model="acme/chat",kind="prompt",key=""} 900
modelfleet_router_tokens_total{model="acme/chat",kind="completion",key="a"} 40
modelfleet_router_tokens_total{model="acme/chat",kind="completion",key="b"} 20
"""


def test_a_row_has_what_the_router_reports() -> None:
    loads = {"models": {"acme/chat": {"in_flight": 3, "idle_seconds": 0}}}
    before = Counters(tokens={"acme/chat": 20})
    (row,) = rows({"data": [ENTRY]}, loads, counters(METRICS), before, 4.0)
    assert (row.in_flight, row.held, row.tokens_per_second) == (3, 2, 10.0)
    assert tuple(row.to_json()) == FIELDS
    expected = [
        "acme/chat", "chat", "ready", "openvino", "cpu", "3", "2", "10.0", "3 MiB", "-", "-", "-",
    ]  # fmt: skip
    assert row.cells() == expected
    assert len(COLUMNS) == len(expected)


def test_a_model_with_a_price_has_costs() -> None:
    text = METRICS + (
        'modelfleet_router_cost_total{model="acme/chat",key="a",currency="EUR"} 0.5\n'
        'modelfleet_router_cost_total{model="acme/chat",key="b",currency="EUR"} 0.25\n'
        'modelfleet_router_servers_price_per_hour{model="acme/chat",currency="EUR"} 1.5\n'
    )
    before = Counters(cost={"acme/chat": 0.74})
    (row,) = rows({"data": [ENTRY]}, None, counters(text), before, 36.0)
    assert row.usage_per_hour == pytest.approx(1.0)
    assert (row.servers_per_hour, row.currency) == (1.5, "EUR")
    assert row.cells()[9] == "1.00+1.50 EUR/h"
    (alone,) = rows({"data": [ENTRY]}, None, counters(text))
    assert alone.cells()[9] == "1.50 EUR/h"


def test_the_present_currency_counts() -> None:
    """The costs of an earlier price stay in the router's metrics."""
    before = 'modelfleet_router_cost_total{model="acme/chat",key="a",currency="USD"} 9\n'
    costs = before + 'modelfleet_router_cost_total{model="acme/chat",key="a",currency="EUR"} 1\n'
    price = 'modelfleet_router_servers_price_per_hour{model="acme/chat",currency="EUR"} 1.5\n'
    for text, cost, servers in (
        (costs + price, {"acme/chat": 1.0}, {"acme/chat": 1.5}), (costs, {"acme/chat": 1.0}, {}),
        (before + price, {}, {"acme/chat": 1.5}),
    ):  # fmt: skip
        found = counters(METRICS + text)
        assert (found.cost, found.servers) == (cost, servers)
        assert found.currency == {"acme/chat": "EUR"}


def test_what_a_key_may_not_read_is_unknown() -> None:
    (row,) = rows({"data": [{**ENTRY, "memory_bytes": None}]}, None, Counters())
    assert row.cells()[5:] == ["-"] * 7


def test_a_model_that_is_not_ready_has_a_reason() -> None:
    entry = {**ENTRY, "state": "scaled_to_zero", "reason": "fetching weights 42 %, 18 s",
             "ready_in_seconds": 18.0}  # fmt: skip
    (row,) = rows({"data": [entry]}, None, Counters())
    assert row.cells()[-1] == row.to_json()["reason"] == "fetching weights 42 %, 18 s"
    assert row.cells()[-2] == "18 s"


def test_adapters_have_no_row_and_a_restarted_router_no_negative_rate() -> None:
    adapter = {**ENTRY, "id": "acme/chat-lora", "parent": "acme/chat"}
    before = Counters(tokens={"acme/chat": 100})
    found = rows({"data": [ENTRY, adapter]}, None, Counters(), before, 1.0)
    assert [(row.model, row.tokens_per_second) for row in found] == [("acme/chat", 0.0)]


def test_control_characters_are_escaped() -> None:
    (row,) = rows({"data": [{**ENTRY, "id": "a\x1b[2J"}]}, None, Counters())
    assert row.cells()[0] == "a\\x1b[2J"


@pytest.mark.parametrize("document", [[], {}, {"data": [{"id": "gpt"}]}, {"data": [1]}, None])
def test_another_kind_of_server(document: Any) -> None:
    with pytest.raises(ValueError, match="not that of a Modelfleet router"):
        rows(document, None, Counters())
