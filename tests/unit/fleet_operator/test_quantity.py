"""Kubernetes quantities: one grammar in chart, custom resource, profiles and operator."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from pydantic import ValidationError

from fleet_contract.crd import definition
from fleet_contract.pod.resources import Resources
from fleet_operator.quantity import MOST, add, shown, thousandths
from fleet_operator.resources import profiles

CHART = Path(__file__).parents[3] / "charts" / "modelfleet"
REQUESTS = definition.at(definition.schema(), "spec.resources.requests")
VALUES = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("500m", 500), ("2", 2000), (3, 3000), ("0.5", 500), ("1.5", 1500), ("1k", 10**6),
        ("1Ki", 1024 * 1000), ("4Gi", 4 * 1024**3 * 1000), ("1M", 10**9), ("1e3", 10**6),
        ("12E6", 12 * 10**9), ("1E", 10**21), ("100u", 1), ("1n", 1), ("0", 0), (0.5, 500),
        ("1.", 1000), (".5", 500), ("+1", 1000), ("1e+3", 10**6), ("1e-3", 1), ("1e-999", 1),
        (1e22, MOST), ("9e999", MOST), ("99999999999999999999Ei", MOST), ("2.0001m", 3),
    ],
)  # fmt: skip
def test_amounts(text: str | float, amount: int) -> None:
    assert thousandths(text) == amount


NONE = ["", "x", "1Q", "Gi", "1 Gi", "--1", "-1", "1.2.3", ".", "1e", "1e1234", "1\n", "\u0661",
        "nan", "1_000", "9" * 65, -1, -0.5, True]  # fmt: skip


@pytest.mark.parametrize("value", NONE)
def test_invalid_quantities_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        thousandths(value)


def in_chart(value: Any) -> bool:
    """Whether a profile of the chart and the chart's own pods accept the value."""
    resources = {"requests": {"cpu": value}}
    values = (
        {**DEFAULTS, "profiles": {"a": {"resources": resources}}},
        {**DEFAULTS, "router": {**DEFAULTS["router"], "resources": resources}},
        {**DEFAULTS, "modelCache": {**DEFAULTS["modelCache"], "size": value}},
    )
    (accepted,) = {jsonschema_rs.is_valid(VALUES, one) for one in values}
    return accepted


def in_profile(value: Any) -> bool:
    text = json.dumps({"resources": {"requests": {"cpu": value}}})
    _, problems = profiles.parse({"a": text})
    return not problems


def in_spec(value: Any) -> bool:
    try:
        Resources.model_validate({"requests": {"cpu": value}})
    except ValidationError:
        return False
    return True


def in_resource(value: Any) -> bool:
    """As `x-kubernetes-int-or-string` is checked: a pattern applies to strings."""
    field = REQUESTS["additionalProperties"]
    assert field["x-kubernetes-int-or-string"] is True
    assert "type" not in field
    if isinstance(value, str):
        return len(value) <= field["maxLength"] and bool(re.search(field["pattern"], value))
    return isinstance(value, int) and not isinstance(value, bool) and value >= field["minimum"]


def operator_accepts(value: Any) -> bool:
    try:
        thousandths(value)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    "value",
    ["500m", "2", "0.5", "1.", ".5", "+1", "1e3", "1e+9", "1E-3", "4Gi", "12E6", 0, 3, 0.5, 1e22],
)
def test_valid_quantities_are_accepted_everywhere(value: Any) -> None:
    accepts = (in_chart, in_profile, in_spec, operator_accepts)
    assert all(accept(value) for accept in accepts)
    # The schema of a custom resource cannot express a field of numbers and strings.
    assert in_resource(value) is not isinstance(value, float)


@pytest.mark.parametrize("value", [one for one in NONE if one != "1\n"])
def test_invalid_quantities_are_refused_everywhere(value: Any) -> None:
    accepts = (in_chart, in_profile, in_spec, in_resource, operator_accepts)
    assert not any(accept(value) for accept in accepts)


def test_a_fraction_in_a_profile_becomes_the_request_of_a_pod() -> None:
    read, _ = profiles.parse({"a": "resources: {requests: {cpu: 0.5, memory: 1e+20}}"})
    assert read["a"].layer() == {"resources": {"requests": {"cpu": "0.5", "memory": "1e+20"}}}


def test_zero_sums_are_removed() -> None:
    total: dict[str, int] = {}
    add(total, {"cpu": 500, "memory": 10})
    add(total, {"cpu": 500})
    assert total == {"cpu": 1000, "memory": 10}
    add(total, {"cpu": 1000}, -1)
    assert total == {"memory": 10}


@pytest.mark.parametrize(
    ("name", "amount", "text"),
    [
        ("cpu", 2500, "2500m cpu"),
        ("nvidia.com/gpu", 1000, "1 nvidia.com/gpu"),
        ("memory", 3 * 1024**3 * 500, "1.5 GiB memory"),
    ],
)
def test_quantities_are_formatted_for_messages(name: str, amount: int, text: str) -> None:
    assert shown(name, amount) == text
