"""Statuses written by other versions or edited manually."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fleet_contract.status import Scaling
from fleet_operator.decide.observed import Observed
from fleet_operator.decide.reconcile import reconcile
from fleet_operator.decide.status import read_part
from support.operator_objects import model


@pytest.mark.parametrize(
    ("raw", "desired"),
    [
        ({"desiredReplicas": 3}, 3),
        ({"desiredReplicas": 3, "fromTheFuture": 1}, 3),
        ({"desiredReplicas": "three"}, None),
        ({}, None),
        (None, None),
        ("three", None),
    ],
)
def test_invalid_parts_of_the_status_are_discarded(raw: Any, desired: int | None) -> None:
    found = read_part(Scaling, raw)
    assert (found.desired_replicas if found is not None else None) == desired


@pytest.mark.parametrize(
    "status",
    [
        {"scaling": {"x": 1}, "rollout": {"y": 2}, "coldStart": {"z": 3}},
        {"scaling": None, "rollout": [], "coldStart": "soon"},
        {"conditions": []},
    ],
)
def test_no_status_keeps_a_model_from_being_served(
    observe: Callable[..., Observed], status: dict[str, Any]
) -> None:
    raw = {**model(scaleToZeroAfter=99999), "status": status}
    plan = reconcile(observe(raw))
    assert [child["kind"] for child in plan.objects] == ["Deployment", "Service"]
