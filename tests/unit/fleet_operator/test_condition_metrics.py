"""The conditions of models in /metrics."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from fleet_operator.condition_metrics import NAME, ConditionSeries
from fleet_operator.metrics import Metrics
from support.operator_objects import model


def with_conditions(version: str = "5", **conditions: str) -> dict[str, Any]:
    raw = model()
    listed = [{"type": kind, "status": status} for kind, status in conditions.items()]
    meta = {**raw["metadata"], "resourceVersion": version}
    return {**raw, "metadata": meta, "status": {"conditions": listed}}


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    """Values by namespace, name, condition and status."""
    return {
        (
            labels["namespace"],
            labels["inferencemodel"],
            labels["condition"],
            labels["status"],
        ): value
        for family in text_string_to_metric_families(text.decode())
        for name, labels, value, *_ in family.samples
        if name == NAME
    }


def test_each_condition_has_a_series_for_each_status() -> None:
    found = samples(ConditionSeries().render([with_conditions(Ready="True", Loaded="Unknown")]))
    assert found == {
        ("ns", "m", "Ready", "true"): 1, ("ns", "m", "Ready", "false"): 0,
        ("ns", "m", "Ready", "unknown"): 0, ("ns", "m", "Loaded", "true"): 0,
        ("ns", "m", "Loaded", "false"): 0, ("ns", "m", "Loaded", "unknown"): 1,
    }  # fmt: skip


def test_series_follow_their_model() -> None:
    series = ConditionSeries()
    assert samples(series.render([with_conditions("5", Ready="True")]))["ns", "m", "Ready", "true"]
    later = samples(series.render([with_conditions("6", Ready="False")]))
    assert (later["ns", "m", "Ready", "true"], later["ns", "m", "Ready", "false"]) == (0, 1)
    assert samples(series.render([])) == {}


def test_a_model_without_a_status_has_none() -> None:
    assert samples(ConditionSeries().render([model()])) == {}


def test_the_series_are_part_of_the_metrics() -> None:
    metrics = Metrics()
    assert samples(metrics.render()) == {}
    metrics.conditions(lambda: [with_conditions(Ready="True")])
    assert samples(metrics.render())["ns", "m", "Ready", "true"] == 1
    assert b"modelfleet_operator_start_time_seconds 1" in metrics.render()
