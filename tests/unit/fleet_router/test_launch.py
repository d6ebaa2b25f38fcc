"""Where the router of a cluster connects, and what it needs for that."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from fleet_router.launch import from_cluster
from fleet_router.routing.table import LiveRoutes
from fleet_router.settings import RouterSettings

KUBECONFIG = {
    "current-context": "here",
    "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
}


def test_a_cluster_is_found_by_its_kubeconfig(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(KUBECONFIG))
    source = from_cluster(RouterSettings.read({}), LiveRoutes(), {"KUBECONFIG": str(path)})
    assert not source.scrapes


def test_without_a_cluster_the_ways_to_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="KUBECONFIG"):
        from_cluster(RouterSettings.read({}), LiveRoutes(), {"HOME": str(tmp_path)})


def test_without_the_client_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("fleet_kube")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    for name in [name for name in sys.modules if name.startswith("kubernetes.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ValueError, match=r"pip install 'modelfleet\[kube\]'"):
        from_cluster(RouterSettings.read({}), LiveRoutes(), {})
