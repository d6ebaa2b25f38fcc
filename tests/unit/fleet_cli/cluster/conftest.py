"""An API server, and the options of commands that use it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet_cli.cluster.options import Place
from support.cluster_api import NAMESPACE, Cluster


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def place(cluster: Cluster, listen: Any, tmp_path: Path) -> Iterator[Place]:
    """Options with the kubeconfig of a user of the namespace `team`; another context is current."""
    with listen(cluster.app) as port:
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "none",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}},
                         {"name": "none", "cluster": {"server": "http://127.0.0.1:9"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [
                {"name": "c", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}},
                {"name": "none", "context": {"cluster": "none", "user": "u"}},
            ],
        }))  # fmt: skip
        yield Place(path, "c")
