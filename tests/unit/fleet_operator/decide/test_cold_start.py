"""The stages of a cold start."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fleet_contract.status import ColdStart
from fleet_operator.decide.cold_start import cold_start
from fleet_operator.resources.views import PodView
from fleet_operator.server_report import ServerReport
from support.operator_objects import pod

STAGES = {"start": 0.123, "fetch": 1.0, "load": 2.0, "warm": 3.0, "golden": 4.0}
REPORT = ServerReport("ready", stages=STAGES)


def started(report: ServerReport = REPORT, **fields: Any) -> ColdStart | None:
    return cold_start(PodView.parse(pod(**{"ready": True, **fields})), report)


def test_every_stage() -> None:
    assert started() == ColdStart(
        schedule_seconds=1.0,
        image_seconds=3.0,
        start_seconds=0.12,
        fetch_seconds=1.0,
        load_seconds=2.0,
        warm_seconds=3.0,
        golden_seconds=4.0,
        total_seconds=10.0,
        at="2026-01-01T11:59:10Z",
    )


def test_stages_that_are_not_reported_are_left_out() -> None:
    found = started(ServerReport("ready"))
    assert found is not None
    assert (found.start_seconds, found.fetch_seconds, found.golden_seconds) == (None, None, None)


@pytest.mark.parametrize("fields", [{"ready": False}, {"restarts": 1}])
def test_no_cold_start(fields: dict[str, Any]) -> None:
    assert started(**fields) is None


def test_a_pod_without_the_time_it_became_ready_has_none() -> None:
    view = PodView.parse(pod(ready=True))
    ready = replace(view.conditions["Ready"], since=None)
    assert cold_start(replace(view, conditions={**view.conditions, "Ready": ready}), REPORT) is None
    assert cold_start(replace(view, conditions={}), REPORT) is None


def test_times_that_are_unknown_are_left_out() -> None:
    view = PodView.parse(pod(ready=True))
    without_node = replace(view, conditions={"Ready": view.conditions["Ready"]})
    found = cold_start(without_node, REPORT)
    assert found is not None
    assert (found.schedule_seconds, found.image_seconds) == (None, None)
    found = cold_start(replace(view, started=None), REPORT)
    assert found is not None
    assert (found.schedule_seconds, found.image_seconds) == (1.0, None)


def test_clocks_that_differ_make_no_negative_times() -> None:
    found = started(created="2026-01-01T12:00:00Z")
    assert found is not None
    assert (found.schedule_seconds, found.total_seconds) == (0.0, 0.0)
