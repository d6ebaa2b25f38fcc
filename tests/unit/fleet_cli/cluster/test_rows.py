"""Rows of a cluster's models."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fleet_cli.cluster.rows import FIELDS, Loads, ready_in, reason_of, row, with_rates
from fleet_cli.status_rows import Row

NOW = datetime(2026, 1, 1, 12, 0, 20, tzinfo=UTC)
SINCE = "2026-01-01T12:00:00Z"


def conditions(**more: Any) -> list[dict[str, Any]]:
    return [{"type": "Loaded"}, {"type": "Ready", "lastTransitionTime": SINCE, **more}]


def test_a_row_has_resource_and_reports() -> None:
    status = {"phase": "Ready", "engine": "openvino", "acceleration": "cpu", "ready": "2/2",
              "task": "chat", "reason": "Ready"}  # fmt: skip
    item = {
        "metadata": {"name": "chat", "namespace": "team"},
        "spec": {"model": "chat"},
        "status": {**status, "resolved": {"model": "acme/chat"}},
    }
    id_ = "acme/chat"
    loads = Loads(
        {id_: 3}, {}, {id_: 5.0}, {("team", "chat"): 200 << 20}, {id_: 0.02}, {id_: 1.0},
        {id_: "EUR"},
    )  # fmt: skip
    before = Loads({}, {}, {id_: 2.5}, cost={id_: 0.01})
    found = with_rates(row(item, loads, NOW), loads, before, 2.0)
    assert found.cells(FIELDS) == [
        "team", "acme/chat", "Ready", "2/2", "openvino", "cpu", "3", "0", "1.2", "200 MiB",
        "18.00+1.00 EUR/h", "-", "-",
    ]  # fmt: skip
    unknown = with_rates(row(item, Loads(), NOW), Loads(), before, 2.0)
    assert (unknown.in_flight, unknown.held, unknown.memory_bytes) == (None, None, None)
    assert unknown.tokens_per_second is None


def test_a_resource_whose_id_another_has_does_not_show_the_load_of_that() -> None:
    item = {"metadata": {"name": "b", "namespace": "team"}, "spec": {"model": "acme/chat"},
            "status": {"phase": "Conflict", "reason": "DuplicateModel"}}  # fmt: skip
    loads = Loads({"acme/chat": 3}, {"acme/chat": 1}, {"acme/chat": 9.0})
    found = with_rates(row(item, loads, NOW), loads, Loads({}, {}, {}), 1.0)
    assert (found.in_flight, found.held, found.tokens_per_second) == (None, None, None)


def test_a_resource_that_no_operator_has_seen() -> None:
    found = row({"metadata": {"name": "a", "namespace": "b"}, "spec": {}}, Loads(), NOW)
    assert isinstance(found, Row)
    assert (found.model, found.state) == ("a", "Pending")
    assert found.reason == "the operator has not processed it yet"


def test_the_reason_is_that_of_the_condition() -> None:
    status = {"phase": "Pending", "reason": "Unschedulable",
              "conditions": conditions(message="0/3 nodes fit.")}  # fmt: skip
    assert reason_of(status) == "Unschedulable: 0/3 nodes fit."
    assert reason_of({**status, "phase": "Ready"}) == ""


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"phase": "Ready", "coldStart": {"totalSeconds": 50}}, None),
        ({"coldStart": {"totalSeconds": 50}}, 30.0),
        ({"coldStart": {"totalSeconds": 15}}, None),
        ({}, None),
        ({"coldStart": {"totalSeconds": 50}, "conditions": []}, None),
        ({"weights": {"secondsLeft": 40}}, 40.0),
        ({"weights": {"secondsLeft": 40}, "coldStart": {"totalSeconds": 9, "loadSeconds": 2.5}},
         42.5),
    ],
)  # fmt: skip
def test_when_it_is_ready(status: dict[str, Any], expected: float | None) -> None:
    assert ready_in({"phase": "Progressing", "conditions": conditions(), **status}, NOW) == expected
