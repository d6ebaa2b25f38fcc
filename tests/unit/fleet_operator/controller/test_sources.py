"""Catalog and profiles are read again when they change."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import pytest

from fleet_contract.catalog import CatalogError
from fleet_kube.client import KubeClient
from fleet_operator.controller.sources import SourceReader
from fleet_operator.resources.profiles import Profile
from support.operator_objects import settings_of


class ConfigMaps:
    """The one ConfigMap the operator may read."""

    def __init__(self) -> None:
        self.data: dict[str, str] | None = None
        self.asked: list[tuple[str, str]] = []

    async def get(self, kind: Any, namespace: str, name: str) -> dict[str, Any] | None:
        self.asked.append((namespace, name))
        return None if self.data is None else {"data": self.data}


def written(path: Path, text: str, second: int) -> None:
    path.write_text(text)
    os.utime(path, (second, second))


async def test_profiles_are_added_and_removed() -> None:
    maps = ConfigMaps()
    reader = SourceReader(cast(KubeClient, maps), settings_of())
    first = await reader.read(None)
    assert (first.profiles, first.problems) == ({}, {})
    assert maps.asked == [("system", "modelfleet-profiles")]
    maps.data = {"fast": "device: cpu", "bad": "[]"}
    second = await reader.read(first)
    assert list(second.profiles) == ["fast"]
    assert list(second.problems) == ["bad"]
    assert second.catalog is first.catalog
    maps.data = {}
    assert (await reader.read(second)).profiles == {}


async def test_profiles_that_cannot_be_read_stay_as_they_were() -> None:
    maps = ConfigMaps()
    reader = SourceReader(cast(KubeClient, maps), settings_of())
    maps.data = {"fast": "device: cpu", "slow": "device: mps"}
    first = await reader.read(None)
    maps.data = {"fast": "device: {", "slow": "device: auto", "new": "{"}
    second = await reader.read(first)
    assert second.profiles == {"fast": first.profiles["fast"], "slow": Profile(device="auto")}
    assert (set(second.problems), second.missing) == ({"fast", "new"}, "")
    maps.data = None
    third = await reader.read(second)
    assert (third.profiles, third.problems) == (second.profiles, second.problems)
    assert third.missing == (
        "The ConfigMap 'modelfleet-profiles' in namespace 'system' does not exist."
    )
    maps.data = {"slow": "device: auto"}
    fourth = await reader.read(third)
    assert (list(fourth.profiles), fourth.problems, fourth.missing) == (["slow"], {}, "")


async def test_changes_of_a_custom_catalog_are_read(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    reader = SourceReader(cast(KubeClient, ConfigMaps()), settings_of(CATALOG=str(path)))
    with pytest.raises(CatalogError):
        await reader.read(None)
    written(path, "replace: true\nmodels: [{model: a/b}]", 1000)
    first = await reader.read(None)
    assert list(first.catalog) == ["a/b"]
    written(path, "models: {", 2000)
    assert list((await reader.read(first)).catalog) == ["a/b"]
    written(path, "replace: true\nmodels: [{model: c/d}]", 3000)
    assert list((await reader.read(first)).catalog) == ["c/d"]
