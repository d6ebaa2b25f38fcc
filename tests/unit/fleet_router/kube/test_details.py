"""What the console shows of a resource besides its route."""

from __future__ import annotations

from typing import Any

from fleet_contract import catalog
from fleet_router.kube.details import MAX_BYTES, Details
from fleet_router.kube.model_reader import ModelReader
from fleet_router.routing.table import Origin

ORIGIN = Origin("ns", "m", wake_at="any")


def item(status: Any) -> dict[str, Any]:
    meta = {"name": "m", "namespace": "ns"}
    return {"metadata": meta, "spec": {"model": "org/m"}, "status": status}


def test_parts_of_the_status_are_kept_until_the_resource_is_deleted() -> None:
    details = Details()
    reader = ModelReader(catalog.load(), {}, details)
    assert details.of(ORIGIN) is None
    conditions = [{"type": "Ready", "status": "True"}]
    reader.read(item({"conditions": conditions, "ready": "1/1", "resolved": {"model": "x"}}))
    assert details.of(ORIGIN) == {"conditions": conditions, "ready": "1/1"}
    reader.read(item({"ready": "0/1"}))
    assert details.of(ORIGIN) == {"ready": "0/1"}
    assert details.of(Origin("ns", "other")) is None
    reader.forget(("ns", "m"))
    assert details.of(ORIGIN) is None


def test_a_status_that_nobody_would_show_is_left_out() -> None:
    details = Details()
    deep: Any = []
    for _ in range(2000):
        deep = [deep]
    for status in ({}, [], "x", {"conditions": deep}, {"conditions": ["x" * MAX_BYTES]}):
        details.put(("ns", "m"), item({"ready": "1/1"}))
        details.put(("ns", "m"), item(status))
        assert details.of(ORIGIN) is None
