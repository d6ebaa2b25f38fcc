"""Fixtures of the real node, where pods and models run.

In this folder, `api`, `tenant` and `control_plane` are those of the node's cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest

from harness import installation, volumes
from harness.api import Api, Json
from harness.control_plane import ControlPlane
from harness.fleet import RESTRICTED
from harness.netns import Namespace
from harness.tenant import Tenant


@pytest.fixture(scope="session")
def control_plane(node_control_plane: ControlPlane) -> ControlPlane:
    """The control plane of the real node."""
    return node_control_plane


@pytest.fixture(scope="session")
def api(node_api: Api) -> Api:
    """API client of the real node's cluster, as administrator."""
    return node_api


@pytest.fixture
def tenant(api: Api, request: pytest.FixtureRequest) -> Iterator[Tenant]:
    """A namespace for this test that enforces Pod Security "restricted"."""
    with Tenant(api, request.node.name, RESTRICTED, fake_pods=False) as mine:
        yield mine


@pytest.fixture
def weights_on_node(
    tenant: Tenant, pod_network: Namespace, demo_weights: Callable[[str], Path]
) -> Iterator[Callable[[str], str]]:
    """`pvc://` address of a model's weights, in a claim of their folder on this machine."""
    made: list[Json] = []

    def address(model_id: str) -> str:
        with pod_network.host_network():
            folder = demo_weights(model_id)
        if not made:
            volume, request = volumes.claim("models", tenant.namespace, folder.parent)
            made.append(tenant.api.create(volume))
            tenant.api.create(request)
        return f"pvc://models/{folder.name}"

    yield address
    for volume in made:
        tenant.api.delete(volume)


@pytest.fixture(scope="session")
def operator(api: Api, image: Callable[[str], str]) -> None:
    """The operator, as a pod, for the whole cluster."""
    installation.install_operator(api, image("operator"), image("server"), RESTRICTED)


@pytest.fixture
def client(tenant: Tenant, operator: None, image: Callable[[str], str]) -> Iterator[openai.OpenAI]:
    """The official client of a router that runs as a pod in the test's namespace."""
    address = installation.install_router(tenant, image("router"))
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", timeout=300) as made:
        yield made
