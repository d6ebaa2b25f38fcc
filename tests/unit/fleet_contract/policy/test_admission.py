"""The rules of the chart's admission policy; tests/cluster/chart/test_rights.py runs them."""

from __future__ import annotations

import re
from pathlib import Path

from fleet_contract.policy.admission import FILE, render, validations, variables

CHART = Path(__file__).parents[4] / "charts" / "modelfleet"


def test_the_chart_has_the_current_rules() -> None:
    assert (CHART / "files" / FILE).read_text() == render(), "run `make docs`"


def test_variables_refer_to_earlier_ones_only() -> None:
    known = {"inRelease", "platformSecrets"}
    for variable in variables():
        expression = variable["expression"]
        assert set(re.findall(r"variables\.(\w+)", expression)) <= known, variable["name"]
        known.add(variable["name"])


def test_every_refusal_has_a_message() -> None:
    for rule in validations():
        assert rule["reason"] == "Forbidden"
        assert ("message" in rule) != ("messageExpression" in rule)
