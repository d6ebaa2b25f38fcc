"""Specs are read again only when they change."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_contract import catalog
from fleet_contract.status import Phase
from fleet_router.kube import model_reader
from fleet_router.kube.model_reader import ModelReader
from fleet_router.kube.objects import read_model

KNOWN = catalog.load()


def item(spec: Any, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "m", "namespace": "ns"}, "spec": spec, "status": status}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The resources whose spec was read."""
    found: list[str] = []

    def counted(raw: Any, *more: Any) -> Any:
        found.append(raw["metadata"]["name"])
        return read_model(raw, *more)

    monkeypatch.setattr(model_reader, "read_model", counted)
    return found


def test_a_change_of_the_status_keeps_the_spec(reads: list[str]) -> None:
    reader = ModelReader(KNOWN, {})
    spec = {"model": "org/m", "task": "embedding"}
    first = reader.read(item(spec))
    second = reader.read(item(spec, phase="Ready", coldStart={"totalSeconds": 3}))
    assert second.spec is first.spec
    assert (second.phase, second.cold_seconds) == (Phase.READY, 3.0)
    assert second == read_model(item(spec, phase="Ready", coldStart={"totalSeconds": 3}), KNOWN, {})
    assert len(reads) == 1


@pytest.mark.parametrize(
    "changed",
    [
        item({"model": "org/m", "contextLength": 7}),
        item({"model": "org/m"}, resolved={"model": "org/m", "contextLength": 7}),
    ],
)
def test_a_change_of_the_spec_is_read(reads: list[str], changed: dict[str, Any]) -> None:
    reader = ModelReader(KNOWN, {})
    reader.read(item({"model": "org/m"}))
    view = reader.read(changed)
    assert view.spec is not None
    assert view.spec.context_length == 7
    reader.forget(("ns", "m"))
    reader.read(changed)
    assert len(reads) == 3


def test_a_problem_is_kept_and_logged_once(
    reads: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    reader = ModelReader(KNOWN, {})
    for phase in ("Pending", "Failed"):
        assert reader.read(item({"model": "org/m", "task": "dreaming"}, phase=phase)).problem
    assert [record.message for record in caplog.records].count("model_unreadable") == 1


def test_a_spec_that_is_nested_too_deeply_is_read_every_time(reads: list[str]) -> None:
    deep: Any = {}
    for _ in range(2000):
        deep = {"a": deep}
    reader = ModelReader(KNOWN, {})
    for _ in range(2):
        assert reader.read(item({"model": "org/m", "podTemplate": deep})).spec is not None
    assert len(reads) == 2
