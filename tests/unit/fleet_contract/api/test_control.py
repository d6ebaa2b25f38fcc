"""The control report as JSON."""

from __future__ import annotations

import pytest

from fleet_contract.api import control
from fleet_contract.api.control import ControlReport
from fleet_contract.api.load_report import ReportedLoad


def test_a_report_is_read_back() -> None:
    report = ControlReport(3, {"a": ReportedLoad(2, 0.0), "b": ReportedLoad(0, 4.5)})
    assert control.parse(control.render(report)) == report


@pytest.mark.parametrize("text", ['{"models": {}}', '{"routes": "1", "models": {}}', "[]", "{"])
def test_other_documents_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"report|JSON|unexpected"):
        control.parse(text.encode())
