"""The body of /readyz, with valid and invalid contents."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_contract.status import WeightsProgress
from fleet_operator.server_report import ServerReport


def test_a_whole_report() -> None:
    body = {
        "status": "fetching", "model": "m", "engine": "openvino", "device": "cpu",
        "progress": {"done_bytes": 1, "total_bytes": 2, "bytes_per_second": 3.5,
                     "seconds_left": None},
        "stages": {"start": 0.5, "fetch": 2, "odd": 3, "load": "x"},
    }  # fmt: skip
    assert ServerReport.parse(body) == ServerReport(
        "fetching", "openvino", "cpu",
        WeightsProgress(done_bytes=1, total_bytes=2, bytes_per_second=3),
        {"start": 0.5, "fetch": 2.0},
    )  # fmt: skip


@pytest.mark.parametrize("body", [None, [], "ready", {}, {"status": 3}])
def test_invalid_reports_are_none(body: Any) -> None:
    assert ServerReport.parse(body) is None


def test_invalid_fields_are_ignored() -> None:
    body = {"status": "ready", "engine": 3, "progress": {"done_bytes": "x"}, "stages": []}
    assert ServerReport.parse(body) == ServerReport("ready")
